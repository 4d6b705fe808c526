"""Where a host that somebody named leads: a name is looked up here and judged by its addresses, and the
connection goes to the address that was judged. A name that changes between registration and use gains nothing."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.domain.errors import ConnectFailed
from orchestrator.domain.worker import Worker
from orchestrator.ports.upstream import Target
from orchestrator.services.egress import HostRule, allowed_address

KEPT_SECONDS = 30.0  # that an answer of the name service is used
MOST_KEPT = 10_000


class Reach:
    """Finds the address of a host."""

    def __init__(
        self, hosts: Callable[[], HostRule], tick: Callable[[], float], setting: str = "tasks.worker_hosts"
    ) -> None:
        """`hosts` gives the operator's rule as it is now, from this `setting`; `tick` monotonic seconds."""
        self._hosts = hosts
        self._tick = tick
        self._setting = setting
        self._known: dict[tuple[str, int], tuple[float, str]] = {}
        self._targets: dict[tuple[str, str, int], tuple[float, Target]] = {}

    async def target(self, worker: Worker) -> Target:
        """Raises ConnectFailed for a name that leads nowhere, or only where the operator's rule forbids."""
        address = await self.address(worker.host, worker.port)
        target = Target(f"worker:{worker.id}:{address}:{worker.port}", address, worker.port)
        if len(self._targets) >= MOST_KEPT:
            self._targets.clear()
        self._targets[worker.id, worker.host, worker.port] = (self._known[worker.host, worker.port][0], target)
        return target

    def known(self, worker: Worker) -> Target | None:
        """The same, if it was found out lately."""
        known = self._targets.get((worker.id, worker.host, worker.port))
        return known[1] if known is not None and known[0] > self._tick() else None

    async def address(self, host: str, port: int) -> str:
        """Raises ConnectFailed for a name that leads nowhere, or only where the operator's rule forbids."""
        known = self._known.get((host, port))
        if known is not None and known[0] > self._tick():
            return known[1]
        found = await allowed_address(host, port, self._hosts())
        if found is None:
            raise ConnectFailed(f"'{host}' leads nowhere that is allowed ({self._setting})")
        if len(self._known) >= MOST_KEPT:
            self._known.clear()
        self._known[host, port] = (self._tick() + KEPT_SECONDS, str(found))
        return str(found)
