"""The orchestrator and its worker nodes, each in a process of its own, for the task benchmarks."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import UnavailableError, program
from benchmarks.fleet import free_ports
from benchmarks.process import TICK, Process, own_cpu

KEY = "sk-bench-0123456789abcdef0123456789abcdef"  # made up here and valid on loopback for one run only
KEY_VARIABLE = "BENCH_TASKS_KEY"
CAPABILITY = "bench"
PATIENCE = 300.0  # seconds for a start; it takes up what is queued
LONGEST = 3600  # seconds after which stubs end by themselves
MIB = 1 << 20


class FailedError(Exception):
    """A measurement could not be made; the message says why."""


def machine_cpu() -> float:
    """CPU seconds of this run's cores since the machine's start, whoever used them, interrupts and stolen time too;
    waiting for disks not."""
    wanted = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in wanted:
            user, nice, system, _idle, _waiting, irq, soft, stolen = map(int, ticks[:8])
            total += user + nice + system + irq + soft + stolen
    return total / TICK


class Quiet:
    """How much of this run's cores others had since it was made, as a share of them."""

    def __init__(self) -> None:
        self._begun, self._machine, self._own = time.monotonic(), machine_cpu(), own_cpu()

    def others(self) -> float:
        taken = (machine_cpu() - self._machine) - (own_cpu() - self._own)
        return max(0.0, taken / (time.monotonic() - self._begun) / len(os.sched_getaffinity(0)))


class Caller:
    """JSON calls over one kept connection."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = headers

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Raises FailedError for another status than 200, OSError and HTTPException."""
        raw = None if body is None else json.dumps(body).encode()
        try:
            status, text = self._ask(method, path, raw)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            status, text = self._ask(method, path, raw)  # the connection had been idle for too long
        if status != 200:
            raise FailedError(f"{method} {path}: {status} {text[:300]!r}")
        found: dict[str, Any] = json.loads(text)
        return found

    def _ask(self, method: str, path: str, raw: bytes | None) -> tuple[int, bytes]:
        try:
            self._connection.request(method, path, raw, dict(self._headers))
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise


@dataclass(frozen=True)
class Counts:
    """Tasks by list."""

    pending: int
    active: int
    completed: int
    failed: int


class WorkerNodes:
    """One process that is many nodes; each answers a task at once."""

    def __init__(self, nodes: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "worker_nodes.log"
        self.process = Process(
            [str(program("worker_nodes")), "--nodes", str(nodes), "--seconds", str(LONGEST)], log=log
        )
        end = time.monotonic() + 10
        while not (line := log.read_text()).endswith("\n"):
            if time.monotonic() > end or not self.process.running:
                raise UnavailableError(f"the stub nodes did not start: {self.process.last_words()}")
            time.sleep(0.01)
        self.ports = [int(port) for port in line.split()]
        self._caller = Caller(self.ports[0], {})

    def stats(self) -> dict[str, int]:
        """`tasks` since the last call, `first_ns` and `last_ns` when they came."""
        return self._caller.call("GET", "/")

    def freeze(self) -> None:
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.signal(signal.SIGCONT)

    def stop(self) -> None:
        self.thaw()
        self.process.stop()


class TaskService:
    """The service with its data in a folder; it can be killed and started again on what is there."""

    def __init__(self, folder: Path, database_url: str) -> None:
        """`database_url` '' is SQLite in the folder, as the service has it by default."""
        self.folder = folder
        self.headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        self.port = free_ports(1)[0]
        self._process: Process | None = None
        self._starts = 0
        self._watched = False
        config = {
            "auth": {"enabled": True, "keys": [{"name": "bench", "key": f"env:{KEY_VARIABLE}", "role": "admin"}]},
            "security": {"rate_limit_max": None, "admin_rate_limit_max": None},
            "discovery": {"enabled": False},
            "demo": {"enabled": False},
            "logging": {"requests": False, "level": "error"},
            "tasks": {"node_timeout": float(LONGEST)},  # the stub nodes send no heartbeats
            "database": {"url": database_url} if database_url else {},
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "orchestrator.yaml").write_text(json.dumps(config))  # JSON is YAML

    def start(self, *, watched: bool = False) -> float:
        """Seconds until it answers /health. `watched`: with `--restart`."""
        self._starts += 1
        files = ["--config", str(self.folder / "orchestrator.yaml"), "--data-dir", str(self.folder / "data")]
        command = [sys.executable, "-m", "orchestrator", "start", *files, "--port", str(self.port)]
        command += ["--restart"] if watched else []
        begun = time.monotonic()
        log = self.folder / f"service-{self._starts}.log"
        self._process = Process(command, log=log, env={KEY_VARIABLE: KEY})
        self._watched = watched
        return self.healthy(begun)

    def healthy(self, begun: float) -> float:
        """Seconds since `begun` (monotonic) until it answers /health."""
        self._caller = Caller(self.port, self.headers)
        while time.monotonic() < begun + PATIENCE and self._running.running:
            try:
                self._caller.call("GET", "/health")
            except (OSError, http.client.HTTPException, FailedError):
                time.sleep(0.005)
            else:
                return time.monotonic() - begun
        raise UnavailableError(f"the orchestrator did not start: {self._running.last_words()}")

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return self._caller.call(method, f"/api/v1{path}", body)

    def counts(self) -> Counts:
        told = self.call("GET", "/tasks?status=completed&limit=1")["summary"]
        return Counts(*(told[f"{name}_count"] for name in ("pending", "active", "completed", "failed")))

    def register(self, ports: Sequence[int], slots: int, capabilities: Sequence[Sequence[str]] = ()) -> None:
        """A node for each port that tasks are pushed to; `capabilities` go round among them."""
        for number, port in enumerate(ports):
            named = capabilities[number % len(capabilities)] if capabilities else [CAPABILITY]
            body = {"host": "127.0.0.1", "port": port, "max_concurrency": slots, "capabilities": named}
            self.call("POST", f"/nodes/node-{number}/register", body)

    def wire(self, name: str, method: str, path: str, body: object = None) -> Path:
        """A file with a request as the load generators send it."""
        raw = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        lines = [f"{method} /api/v1{path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{header}: {value}" for header, value in self.headers.items()]
        lines += [f"Content-Length: {len(raw)}"] if raw else []
        file = self.folder / f"{name}.http"
        file.write_bytes("\r\n".join([*lines, "", ""]).encode() + raw)
        return file

    def cpu(self) -> float:
        """CPU seconds since its start."""
        return self._running.sample().cpu

    def rss_mib(self) -> float:
        return self._running.sample().rss / MIB

    def kill(self) -> None:
        """As the kernel would; one that is watched is followed by another."""
        if self._watched:
            os.kill(next(pid for pid in self._running.tree() if pid != self._running.pid), signal.SIGKILL)
            return
        self._running.signal(signal.SIGKILL)
        self._running.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise FailedError("the service was not started")
        return self._process
