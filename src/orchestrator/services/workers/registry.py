"""The workers of this process: in memory and synchronous for whoever places tasks, written through to the database.

What a worker or an operator says of a registration is written first and then in force. What changes all the time
(heartbeats, counters, measurements) is in force at once and written down in the background.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from orchestrator.domain import worker as changes
from orchestrator.domain.access import Principal, Role
from orchestrator.domain.errors import Conflict, NotFound, StorageUnavailable
from orchestrator.domain.storable import check_storable
from orchestrator.domain.worker import LOCAL_WORKER, LOST, Tally, Worker, WorkerMode, WorkerStatus, foreign
from orchestrator.domain.worker_hosts import WorkerHosts, is_host
from orchestrator.domain.worker_report import read_heartbeat, read_registration, refused
from orchestrator.ports.workers import WorkerStore
from orchestrator.services.fleet.fleet import Fleet

ANY_HOST = WorkerHosts()
MISSED, TOLD, REMOVED, SHARED = "missed heartbeats", "status {}", "removed", "told by another process"
WRITE_SECONDS = 5.0  # what a crash may cost of the counters
PART = 100  # workers handled at once
_log = logging.getLogger("orchestrator.workers")


@dataclass(frozen=True, slots=True)
class WorkerRules:
    """Times in seconds."""

    timeout: float = 120.0  # without a heartbeat
    heartbeat_interval: float = 30.0
    most: int = 10_000
    hosts: WorkerHosts = ANY_HOST


class Workers:
    """Registers workers, hears their heartbeats and sees who stays away.

    Listeners are called when everything is in force: `on_change` for anything that a placement may look at, `on_lost`
    when a worker is offline, in error or removed (with the reason), `on_room` when a worker may now take what it could
    not take before.
    """

    def __init__(self, fleet: Fleet, store: WorkerStore, rules: WorkerRules) -> None:
        self.rules = rules
        self.on_change: list[Callable[[Worker], None]] = []
        self.on_lost: list[Callable[[str, str], None]] = []
        self.on_room: list[Callable[[str], None]] = []
        # What a worker should stop: task and attempt. Whoever runs tasks says so; workers hear it by heartbeats.
        self.to_cancel: Callable[[str], Sequence[tuple[str, int]]] = lambda worker_id: ()
        self.adopting = False  # while listeners are called for what another process did
        self._fleet = fleet
        self._clock = fleet.clock
        self._store = store
        self._workers: dict[str, Worker] = {}
        self._view: Mapping[str, Worker] = MappingProxyType(self._workers)
        self._tallies: dict[str, Tally] = {}
        self._counted: set[str] = set()  # tallies that are ahead of their workers
        self._dirty: set[str] = set()  # ahead of the database
        self._seen: dict[str, float] = {}  # monotonic seconds
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Brings back what the last process knew. Nobody is late yet: heartbeats could not arrive meanwhile."""
        now = self._clock.tick()
        for worker in await self._store.list():
            self._take(worker)
            self._seen[worker.id] = now

    # What others look at

    def all(self) -> Mapping[str, Worker]:
        """The workers as they are now, by id: a live view. Counters and measurements are up to a second behind, of many
        workers up to some seconds."""
        return self._view

    def get(self, worker_id: str) -> Worker:
        """Raises NotFound."""
        worker = self._workers.get(worker_id)
        if worker is None:
            raise NotFound("Node not found", details={"code": "NODE_NOT_FOUND"})
        return worker

    def current(self) -> Mapping[str, Worker]:
        """`all`, with every counter up to date."""
        self._fold()
        return self._view

    # What workers and operators say

    async def register(self, worker_id: str, body: Mapping[str, Any], principal: Principal) -> Worker:
        """Adds a worker, or takes over what a known one says anew. Raises InvalidRequest, Forbidden for a node that is
        not its owner, Conflict for the id of a model server and when there are too many."""
        owner = principal.id if principal.role is Role.NODE else ""
        told = replace(read_registration(worker_id, body, self._clock.wall()), owner=owner)
        self._check_host(told)
        async with self._changing:
            self._check_server(worker_id)
            known = self._current(worker_id)
            if known is None and len(self._workers) >= self.rules.most:
                raise Conflict(f"There are {self.rules.most} nodes already (tasks.max_nodes).")
            if known is not None:
                _check_owner(known, principal)
            await self._store.put(changes.register(known, told))
            # What came in while the database wrote counts, too.
            worker = changes.register(self._current(worker_id), told)
            self._set(worker)
        if known is None:
            _log.info("worker_registered", extra={"worker": worker_id, "mode": worker.mode.value})
        return worker

    def heartbeat(self, worker_id: str, body: Mapping[str, Any], principal: Principal) -> Worker:
        """Raises InvalidRequest, NotFound, Forbidden."""
        self._check_server(worker_id)
        worker = self.get(worker_id)
        _check_owner(worker, principal)
        now = self._clock.wall()
        told = read_heartbeat(body, worker.agents, now)
        if told.agents is not None:
            check_storable(told.agents)
        after = changes.heartbeat(worker, told, now)
        self._dirty.add(worker_id)
        self._set(after)
        return after

    def alive(self, worker_id: str) -> None:
        """Any sign of life, such as a pull or a result, is as good as a heartbeat that says nothing."""
        worker = self._workers.get(worker_id)
        if worker is None:
            return
        self._seen[worker_id] = self._clock.tick()
        now = self._clock.epoch
        if worker.status is WorkerStatus.OFFLINE or now - worker.heartbeat_at > self.rules.heartbeat_interval / 2.0:
            self._dirty.add(worker_id)
            self._set(changes.heartbeat(worker, changes.Heartbeat(), now))

    async def set_status(self, worker_id: str, status: WorkerStatus) -> tuple[WorkerStatus, WorkerStatus]:
        """An operator's word, which heartbeats do not change; the status before and after. Raises NotFound, and
        Conflict for a model server."""
        async with self._changing:
            self._check_server(worker_id)
            before = self.get(worker_id).status
            now = self._clock.wall()
            await self._store.put(changes.set_status(self._current(worker_id) or self.get(worker_id), status, now))
            self._set(changes.set_status(self.get(worker_id), status, now))
        return before, status

    async def drain(self, worker_id: str) -> tuple[WorkerStatus, WorkerStatus]:
        """No new tasks; what runs may finish. The same as maintenance, until an operator sets it active."""
        return await self.set_status(worker_id, WorkerStatus.MAINTENANCE)

    async def remove(self, worker_id: str) -> None:
        """Forgets a worker. Raises NotFound, and Conflict for a model server."""
        async with self._changing:
            self._check_server(worker_id)
            self.get(worker_id)
            await self._store.delete(worker_id)
            self._forget(worker_id)
        _log.info("worker_removed", extra={"worker": worker_id})
        self._lost(worker_id, REMOVED)

    # What tasks teach

    def finished(self, worker_id: str, ok: bool, seconds: float) -> None:
        """Counts a result and the time that it took."""
        tally = self._tallies.get(worker_id)
        if tally is not None:
            tally.finished(ok, seconds)
            self._counted.add(worker_id)

    def measured(self, worker_id: str, latency_ms: float) -> None:
        """Takes in how long the worker took to answer that it has a task."""
        tally = self._tallies.get(worker_id)
        if tally is not None:
            tally.measured(latency_ms)
            self._counted.add(worker_id)

    # What happens by itself

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Marks those offline whose heartbeats stay away and tells the newest numbers, until cancelled."""
        while True:
            await sleep(min(1.0, self.rules.timeout / 4.0))
            self.look()
            for worker_id in list(self._counted)[:PART]:
                self._fold_one(worker_id)

    async def keep(
        self, sleep: Callable[[float], Awaitable[None]], failed: Callable[[Exception], None], *, others: bool
    ) -> None:
        """Writes down what has changed, until cancelled, and reads what `others` on the same database wrote. A
        database that is away is told to `failed` and tried again."""
        while True:
            await sleep(min(WRITE_SECONDS, self.rules.timeout / 4.0))
            try:
                await self.flush()
                if others:
                    await self.sync()
            except StorageUnavailable as error:
                failed(error)

    def look(self) -> None:
        """One look at who is late."""
        limit = self._clock.tick() - self.rules.timeout
        for worker_id in [one for one, seen in self._seen.items() if seen < limit]:
            worker = self._workers[worker_id]
            if worker.status not in LOST:
                self._dirty.add(worker_id)
                self._set(changes.lost(worker), MISSED, seen=False)

    async def flush(self) -> None:
        """Writes down what has changed since the last time. Raises StorageUnavailable; nothing is forgotten then."""
        await self._fold_in_parts()
        async with self._changing:
            while self._dirty:
                part = set(sorted(self._dirty)[:PART])
                self._dirty -= part
                try:
                    await self._store.put_many([self._workers[one] for one in sorted(part & self._workers.keys())])
                except BaseException:
                    self._dirty |= part
                    raise

    async def sync(self) -> None:
        """Takes over what other processes on the same database have written. Raises StorageUnavailable."""
        async with self._changing:
            stored = {worker.id: worker for worker in await self._store.list()}
            self.adopting = True
            try:
                for worker_id in [one for one in self._workers if one not in stored]:
                    self._forget(worker_id)
                    self._lost(worker_id, REMOVED)
                for worker in stored.values():
                    self._adopt(worker)
            finally:
                self.adopting = False

    def _adopt(self, stored: Worker) -> None:
        mine = self._current(stored.id)
        ahead = mine is not None and stored.id in self._dirty
        worker = changes.shared(mine, stored) if mine is not None and ahead else stored
        if worker == mine:
            return
        if not ahead:
            self._tallies.pop(stored.id, None)
        self._set(worker, SHARED, seen=mine is None or worker.heartbeat_at > mine.heartbeat_at)

    # Inside

    def _check_host(self, worker: Worker) -> None:
        if not is_host(worker.host):
            raise refused("host", "must be a name or an address")
        if worker.mode is WorkerMode.PUSH and not self.rules.hosts.allows(worker.host):
            raise refused("host", "is not one that tasks may be pushed to (tasks.worker_hosts)")

    def _check_server(self, worker_id: str) -> None:
        if worker_id == LOCAL_WORKER:
            raise Conflict(f"'{worker_id}' is the service's own worker.")
        if worker_id in self._fleet.nodes:
            raise Conflict(
                f"'{worker_id}' is a model server of the fleet; it is changed under /api/orchestrator/servers."
            )

    def _current(self, worker_id: str) -> Worker | None:
        """A worker with its counters up to date."""
        self._fold()
        return self._workers.get(worker_id)

    def _fold(self) -> None:
        """Puts the tallies onto their workers."""
        for worker_id in list(self._counted):
            self._fold_one(worker_id)

    async def _fold_in_parts(self) -> None:
        """The same, where thousands of workers should hold nobody up."""
        for place, worker_id in enumerate(list(self._counted)):
            if worker_id in self._counted:
                self._fold_one(worker_id)
            if place % PART == PART - 1:
                await asyncio.sleep(0)

    def _fold_one(self, worker_id: str) -> None:
        self._counted.discard(worker_id)
        worker = self._workers[worker_id] = self._tallies[worker_id].onto(self._workers[worker_id])
        self._dirty.add(worker_id)
        for listener in self.on_change:
            listener(worker)

    def _take(self, worker: Worker) -> None:
        self._workers[worker.id] = worker
        self._tallies.setdefault(worker.id, Tally.of(worker))

    def _forget(self, worker_id: str) -> None:
        for kept in (self._workers, self._tallies, self._seen):
            kept.pop(worker_id, None)
        self._counted.discard(worker_id)
        self._dirty.discard(worker_id)

    def _set(self, worker: Worker, reason: str = "", *, seen: bool = True) -> None:
        """Puts a worker in force and tells who listens."""
        before = self._workers.get(worker.id)
        self._take(worker)
        if seen:
            self._seen[worker.id] = self._clock.tick()
        if before is not None and before.status is not worker.status:
            self._tell_status(before, worker, reason)
        for listener in self.on_change:
            listener(worker)
        if before is not None and worker.status in LOST and before.status not in LOST:
            self._lost(worker.id, reason or TOLD.format(worker.status.value))
        if worker.active and (before is None or _roomier(before, worker)):
            for room in self.on_room:
                room(worker.id)

    def _lost(self, worker_id: str, reason: str) -> None:
        for listener in self.on_lost:
            listener(worker_id, reason)

    def _tell_status(self, before: Worker, worker: Worker, reason: str) -> None:
        level = logging.WARNING if worker.status in LOST else logging.INFO
        fields = {
            "worker": worker.id,
            "previous": before.status.value,
            "status": worker.status.value,
            "reason": reason,
        }
        _log.log(level, "worker_status_changed", extra=fields)


def _check_owner(worker: Worker, principal: Principal) -> None:
    if not worker.reports_to(principal):
        raise foreign(worker.id)


def _roomier(before: Worker, worker: Worker) -> bool:
    """Whether it may take something that it could not take before."""
    return (
        not before.active
        or worker.slots > before.slots
        or worker.cpu_usage < before.cpu_usage
        or worker.memory_usage < before.memory_usage
        or worker.load_score < before.load_score
        or worker.memory_mb != before.memory_mb
        or worker.capabilities != before.capabilities
        or worker.task_types != before.task_types
        or worker.labels != before.labels
    )
