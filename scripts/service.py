"""The background service behind `make up`, `make down` and `make logs`. Standard library only.

    python scripts/service.py up   [--port 9000] [--data-dir .orchestrator] [--wait 60] [-- ARGUMENT ...]
    python scripts/service.py down [--data-dir .orchestrator] [--grace 40]
    python scripts/service.py logs [--data-dir .orchestrator]

`up` starts `orchestrator start` in its own session, waits until /health/ready answers 200 and prints what to try next;
arguments after `--` go to `orchestrator start`. Started twice, it says where the first one is. The process is known by
its id and its start time, so that a recycled id is never mistaken for it. Exit status: 0 done, 1 failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HINTS = """
Try it (streaming: leave out or turn on "stream"):

  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'

  curl {url}/v1/messages -H 'Content-Type: application/json' -H 'anthropic-version: 2023-06-01' \\
    -d '{{"model": "{model}", "max_tokens": 64, "messages": [{{"role": "user", "content": "Hello"}}]}}'

  curl {url}/api/chat \\
    -d '{{"model": "{model}", "stream": false, "messages": [{{"role": "user", "content": "Hello"}}]}}'

Point clients at it:  OpenAI {url}/v1 · Anthropic {url} · Ollama {url} (OLLAMA_HOST)
Next:                 .venv/bin/orchestrator status · .venv/bin/orchestrator chat {model} · make logs · make down
"""
DEMO = """
No model server was found on this machine: {count} demo nodes answer canned text, no model runs there.
For real answers:     .venv/bin/orchestrator nodes add ID URL · make down up ARGS="--gguf FILE"
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that `up` started. `born` is the kernel's start time of the process, in clock ticks since boot."""

    pid: int
    born: str
    port: int

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def alive(self) -> bool:
        return birth(self.pid) == self.born


def birth(pid: int) -> str | None:
    """The start time of a live process, None when there is none (a zombie is none)."""
    try:
        # The command name, field 2, is in parentheses and may hold anything; the state is field 3, the start field 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def load(data: Path) -> Running | None:
    try:
        running = Running(**json.loads((data / "service.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return running if running.alive() else None


def get(url: str) -> tuple[int, bytes] | None:
    """Status and body, or None when nobody answers. Proxies of the environment are for other hosts."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (OSError, ValueError):
        return None


def tail(log: Path, lines: int = 30) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


def rows(port: int, path: str, name: str) -> list[dict[str, Any]]:
    """A list that the running service answers with; empty when it does not, as for one that wants a key."""
    answer = get(f"http://127.0.0.1:{port}{path}")
    try:
        return list(json.loads(answer[1])[name]) if answer else []
    except (ValueError, LookupError, TypeError):
        return []


def first_model(port: int) -> str:
    """Some model of the fleet that can chat, as far as is known; a placeholder when there is none."""
    for model in rows(port, "/api/orchestrator/models", "details"):
        if not model["capabilities"] or "completion" in model["capabilities"]:
            return str(model["name"]).removesuffix(":latest")
    return "MODEL"


def hints(running: Running) -> str:
    """What to try, and a plain word when only demo nodes will answer."""
    text = HINTS.format(url=running.url, model=first_model(running.port))
    nodes = rows(running.port, "/api/orchestrator/servers", "servers")
    if nodes and all(node["kind"] == "demo" for node in nodes):
        return DEMO.format(count=len(nodes)) + text
    return text


def wait_ready(process: subprocess.Popen[bytes], port: int, seconds: float) -> tuple[bool, str]:
    """Whether the service answers at all, and what is wrong ("" once it is ready)."""
    until = time.monotonic() + seconds
    answer = None
    while time.monotonic() < until:
        if process.poll() is not None:
            return False, f"it ended with status {process.returncode}"
        answer = get(f"http://127.0.0.1:{port}/health/ready")
        if answer is not None and answer[0] == 200:
            return True, ""
        time.sleep(0.1)
    said = answer[1].decode(errors="replace") if answer else "no answer"
    return answer is not None, f"not ready after {seconds:g} s: {said}"


def up(port: int, data: Path, seconds: float, extra: list[str]) -> int:
    if running := load(data):
        print(f"Orchestrator is running already at {running.url} (process {running.pid}).")
        if running.port != port:
            print(f"It is not on port {port}: run `make down` first to move it.")
        print(hints(running))
        return 0
    if get(f"http://127.0.0.1:{port}/health/live") is not None:
        print(f"error: something else answers on port {port}. Choose another one: make up PORT=9001")
        return 1
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = data / "service.log"
    command = [str(Path(sys.executable).parent / "orchestrator"), "start", "--port", str(port)]
    command += ["--data-dir", str(data), *extra]
    with log.open("ab") as output:
        start = output.tell()
        process = subprocess.Popen(  # noqa: S603 - our own command; the arguments are the caller's
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    record = Running(process.pid, birth(process.pid) or "", port)
    (data / "service.json").write_text(json.dumps({"pid": record.pid, "born": record.born, "port": port}))
    answers, problem = wait_ready(process, port, seconds)
    if problem and answers:
        # A fleet without a healthy node, or a large model that is still loading: worth a look, not a kill.
        print(f"Orchestrator runs at {record.url}, but is {problem}\nSee `make logs`; `make down` stops it.")
        return 1
    if problem:
        print(f"error: the service did not start: {problem}\n--- {log}")
        print(tail(log) if log.stat().st_size > start else "(it wrote nothing)")
        if process.poll() is None:
            stop(record, 10)
        return 1
    print(f"Orchestrator is ready at {record.url} (process {record.pid}, log {log}).")
    print(hints(record))
    return 0


def send(running: Running, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, number)


def stop(running: Running, grace: float) -> bool:
    """SIGTERM, time for streams to finish, then SIGKILL. Whether it left by itself."""
    send(running, signal.SIGTERM)
    until = time.monotonic() + grace
    while time.monotonic() < until:
        if not running.alive():
            return True
        time.sleep(0.1)
    send(running, signal.SIGKILL)
    return False


def down(data: Path, grace: float) -> int:
    running = load(data)
    if running is None:
        print("Orchestrator is not running.")
        return 0
    clean = stop(running, grace)
    (data / "service.json").unlink(missing_ok=True)
    print("Orchestrator stopped." if clean else f"error: it did not stop within {grace:g} s and was killed.")
    return 0 if clean else 1


def logs(data: Path) -> int:
    print(tail(data / "service.log", lines=200))
    return 0


def main(arguments: list[str]) -> int:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    own, extra = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("up", "down", "logs"))
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--data-dir", type=Path, default=Path(".orchestrator"))
    parser.add_argument("--wait", type=float, default=60, help="seconds until ready")
    parser.add_argument("--grace", type=float, default=40, help="seconds until killed")
    options = parser.parse_args(own)
    if options.verb == "up":
        return up(options.port, options.data_dir, options.wait, extra)
    return down(options.data_dir, options.grace) if options.verb == "down" else logs(options.data_dir)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
