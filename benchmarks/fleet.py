"""The model servers behind every target: the C stub on four loopback ports."""

from __future__ import annotations

import http.client
import json
import socket
import time
from pathlib import Path
from types import TracebackType

from benchmarks.environment import UnavailableError, program
from benchmarks.process import Process

NODES = 4


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody uses; all are held open until all are known, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class StubFleet:
    """One process, four ports; a context manager."""

    def __init__(self, core: int, folder: Path, seconds: int) -> None:
        self.ports = free_ports(NODES)
        ports = ",".join(map(str, self.ports))
        command = [str(program("stub")), "--ports", ports, "--seconds", str(seconds)]
        self.process = Process(command, core=core, log=folder / "stub.log")

    def __enter__(self) -> StubFleet:
        until = time.monotonic() + 5
        while time.monotonic() < until and self.process.running:
            try:
                self.stats()
            except OSError:
                time.sleep(0.05)
            else:
                return self
        raise UnavailableError(f"the stub did not start: {self.process.last_words()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop()

    def stats(self) -> dict[str, int]:
        """Counters of the stub: requests, streams, chunks, bytes, cancelled, blocked (now), open (now)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=5)
        try:
            connection.request("GET", "/stub/stats")
            counters: dict[str, int] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return counters
