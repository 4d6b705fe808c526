"""A private Redis on loopback, for as long as a block runs. It keeps nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT = 20.0  # seconds


class RedisServer:
    """One server, always at the same port. `start` after `kill` is a new one."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns when it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([self._program, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(100).startswith(b"+PONG"):
                        return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("the Redis server did not start")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As the kernel would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


@contextmanager
def running(folder: Path) -> Iterator[RedisServer]:
    server = RedisServer(find_program() or install(), folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def find_program() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")


def install() -> str:
    """Installs the system's package."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit("redis-server is missing: install it for the tests")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # it need not run by itself
    options = ["-q", "-y", "-o", "DPkg::Lock::Timeout=120"]
    subprocess.run(["apt-get", *options, "update"], env=environment, check=True)
    subprocess.run(
        ["apt-get", *options, "install", "--no-install-recommends", "redis-server"], env=environment, check=True
    )
    program = find_program()
    if program is None:
        raise SystemExit("the package redis-server was installed, but its program was not found")
    return program
