"""The databases that the task benchmarks need: private ones, durable, on loopback, gone with the run."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.environment import UnavailableError, installed
from benchmarks.fleet import free_ports
from benchmarks.process import Process

ROOT = Path(__file__).resolve().parent.parent
REDIS_WAIT = 10.0  # seconds


class Postgres:
    """The tests' private server with its durability on, started when the first database is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: Any = None
        self._made = 0

    def create(self) -> str:
        """URL of a new, empty database."""
        if self._server is None:
            sys.path.insert(0, str(ROOT / "tests"))
            try:
                from servers import postgres  # type: ignore[import-not-found,unused-ignore]  # the tests' server
            finally:
                sys.path.pop(0)
            self._server = postgres.start(self._folder, os.getpid(), durable=True)
        self._made += 1
        return str(self._server.create(f"bench_{self._made}"))

    def version(self) -> str:
        return "" if self._server is None else str(self._server.execute("SHOW server_version")).split()[0]

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()


@contextmanager
def redis(folder: Path, fsync: str) -> Iterator[str]:
    """URL of a Redis with an append-only file; `fsync` is always or everysec."""
    program = installed("redis-server", "redis-server")
    port = free_ports(1)[0]
    data = folder / f"redis-{port}"
    data.mkdir()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--save", ""]
    process = Process([*command, "--appendonly", "yes", "--appendfsync", fsync], log=folder / "redis.log")
    try:
        _await_port(port, process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.stop()
        shutil.rmtree(data, ignore_errors=True)


def _await_port(port: int, process: Process) -> None:
    end = time.monotonic() + REDIS_WAIT
    while time.monotonic() < end and process.running:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise UnavailableError(f"redis-server did not start: {process.last_words()}")
