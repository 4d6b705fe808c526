"""Functions that the tests register as tools."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


def add(a: float, b: float) -> float:
    print("adding", a, b)  # must not disturb the frames
    return a + b


async def later(text: str) -> str:
    return text.upper()


def refuse(why: str) -> None:
    raise ValueError(why)


def leave(status: int) -> None:
    print("the last words", file=sys.stderr, flush=True)
    os._exit(status)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def surroundings() -> dict[str, str]:
    return dict(os.environ)


def ask() -> str:
    return input()


def allocate(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))


def spin() -> None:
    while True:
        pass


def many_files(count: int) -> int:
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    return len(opened)


def write(path: str, megabytes: int) -> None:
    Path(path).write_bytes(b"x" * (megabytes << 20))


def long_text(size: int) -> str:
    return "x" * size


def chatter(megabytes: int) -> str:
    for _ in range(megabytes):
        sys.stdout.write("y" * (1 << 20))
    return "done"


def unspeakable() -> Any:
    return object()


def raise_limits() -> str:
    try:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, PermissionError) as error:
        return type(error).__name__
    return "raised"


def linger(path: str) -> str:
    """Leaves a process that would write a file a second later."""
    program = f"import time; open({path + '.begun'!r}, 'w').close(); time.sleep(1); open({path!r}, 'w').close()"
    subprocess.Popen([sys.executable, "-c", program])
    while not Path(path + ".begun").exists():
        time.sleep(0.01)
    return "left"


def hang(path: str) -> None:
    """Says that it has begun, starts a child, and never ends."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def threads(count: int) -> int:
    done = threading.Event()
    started = []
    for _ in range(count):
        thread = threading.Thread(target=done.wait)
        thread.start()
        started.append(thread)
    done.set()
    return len(started)


def process_id() -> int:
    return os.getpid()
