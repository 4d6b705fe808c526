"""Where a worker's host leads: a name is looked up here and judged by its addresses, and the connection goes to the
address that was judged. A name that changes between registration and use gains nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from orchestrator.domain.errors import ConnectFailed
from orchestrator.domain.worker import Worker
from orchestrator.domain.worker_hosts import WorkerHosts, read_address
from orchestrator.ports.upstream import Target

KEPT_SECONDS = 30.0  # that an answer of the name service is used
MOST_KEPT = 10_000


class Reach:
    """Finds the target of a worker."""

    def __init__(self, hosts: Callable[[], WorkerHosts], tick: Callable[[], float]) -> None:
        """`hosts` gives the operator's rule as it is now, `tick` monotonic seconds."""
        self._hosts = hosts
        self._tick = tick
        self._known: dict[tuple[str, int], tuple[float, str]] = {}

    async def target(self, worker: Worker) -> Target:
        """Raises ConnectFailed for a name that leads nowhere, or only where the operator's rule forbids."""
        address = await self._address(worker.host, worker.port)
        return Target(f"worker:{worker.id}:{address}:{worker.port}", address, worker.port)

    async def _address(self, host: str, port: int) -> str:
        known = self._known.get((host, port))
        if known is not None and known[0] > self._tick():
            return known[1]
        literal = read_address(host)
        found = [str(literal)] if literal is not None else await self._look_up(host, port)
        rule = self._hosts()
        for text in found:
            address = read_address(text)
            if address is not None and rule.permits(host, address):
                if len(self._known) >= MOST_KEPT:
                    self._known.clear()
                self._known[host, port] = (self._tick() + KEPT_SECONDS, str(address))
                return str(address)
        raise ConnectFailed(f"'{host}' leads nowhere that tasks may be pushed to (tasks.worker_hosts)")

    @staticmethod
    async def _look_up(host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectFailed(f"'{host}': {error.strerror or error}") from None
        return [str(entry[4][0]).partition("%")[0] for entry in found]
