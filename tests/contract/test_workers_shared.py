"""Workers of processes that share a database, and what the database going away costs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.domain.access import Principal, Role
from orchestrator.domain.breaker_policy import BreakerPolicy
from orchestrator.domain.errors import NotFound, StorageUnavailable
from orchestrator.domain.placement import Roster
from orchestrator.domain.worker import Worker, WorkerStatus
from orchestrator.ports.store import Storage
from orchestrator.services.clock import Clock
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.workers import WorkerRules, Workers

NODE = Principal("k", "node", Role.NODE)
BODY: dict[str, Any] = {"host": "localhost", "capabilities": ["gpu"]}


def workers_of(storage: Storage, rules: WorkerRules | None = None) -> Workers:
    fleet = Fleet(Clock(), Roster(), BreakerPolicy(), lambda: 0.5, lambda spec: None)
    return Workers(fleet, storage.workers, rules or WorkerRules())


async def exchange(*processes: Workers) -> None:
    """All write, then all read."""
    for one in processes:
        await one.flush()
    for one in processes:
        await one.sync()


async def test_processes_see_each_other_s_workers(storage: Storage) -> None:
    a, b = workers_of(storage), workers_of(storage)
    changes: list[Worker] = []
    lost: list[tuple[str, str]] = []
    b.on_change.append(changes.append)
    b.on_lost.append(lambda worker, reason: lost.append((worker, reason)))
    await a.register("n", BODY, NODE)
    await exchange(a, b)
    assert b.get("n") == a.get("n")
    a.heartbeat("n", {"cpu_usage": 40}, NODE)
    await exchange(a, b)
    assert b.get("n").cpu_usage == 40
    assert [worker.cpu_usage for worker in changes] == [0, 40]
    a.heartbeat("n", {"status": "error"}, NODE)
    await exchange(a, b)
    assert lost == [("n", "told by another process")]
    await a.remove("n")
    await exchange(a, b)
    assert lost[1:] == [("n", "removed")]
    with pytest.raises(NotFound):
        b.get("n")
    assert not b.all()


async def test_an_operator_s_word_reaches_a_process_that_hears_the_worker(storage: Storage) -> None:
    a, b = workers_of(storage), workers_of(storage)
    await a.register("n", BODY, NODE)
    await exchange(a, b)
    await b.set_status("n", WorkerStatus.MAINTENANCE)
    a.heartbeat("n", {"cpu_usage": 7, "status": "active"}, NODE)
    await a.sync()
    assert (a.get("n").status, a.get("n").cpu_usage) == (WorkerStatus.MAINTENANCE, 7)
    await exchange(a, b)
    for one in (a, b):
        assert (one.get("n").status, one.get("n").cpu_usage) == (WorkerStatus.MAINTENANCE, 7)
    await b.set_status("n", WorkerStatus.ACTIVE)
    await exchange(b, a)
    assert a.get("n").active


async def test_who_is_heard_by_one_process_is_not_late_for_another(storage: Storage) -> None:
    rules = WorkerRules(timeout=0.3)
    a, b = workers_of(storage, rules), workers_of(storage, rules)
    await a.register("n", BODY, NODE)
    await exchange(a, b)
    for _ in range(6):
        await asyncio.sleep(0.1)
        a.heartbeat("n", {}, NODE)
        await exchange(a, b)
        b.look()
        assert b.get("n").active
    await asyncio.sleep(0.35)
    b.look()
    assert b.get("n").status is WorkerStatus.OFFLINE


async def test_numbers_are_told_and_kept(storage: Storage) -> None:
    a = workers_of(storage)
    for number in range(130):
        await a.register(f"n{number}", BODY, NODE)
    told: list[str] = []
    a.on_change.append(lambda worker: told.append(worker.id))
    for number in range(130):
        a.finished(f"n{number}", number % 2 == 0, 1.0)
        a.measured(f"n{number}", 5.0)
    a.finished("gone", True, 1.0)
    a.measured("gone", 1.0)
    await a.flush()
    assert sorted(told) == sorted(a.all())
    again = workers_of(storage)
    await again.load()
    assert again.all() == a.all()
    assert again.get("n1").tasks_failed == 1
    assert again.get("n0").network_latency == 5.0


async def test_any_sign_of_life_brings_a_worker_back(storage: Storage) -> None:
    a = workers_of(storage, WorkerRules(timeout=0.05))
    room: list[str] = []
    await a.register("n", BODY, NODE)
    a.on_room.append(room.append)
    await asyncio.sleep(0.1)
    a.look()
    assert a.get("n").status is WorkerStatus.OFFLINE
    a.alive("n")
    a.alive("gone")
    assert a.get("n").active
    assert room == ["n"]


class Away:
    """A store whose database is away while `away`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.away = False

    def __getattr__(self, name: str) -> Any:
        if self.away:
            raise StorageUnavailable("away")
        return getattr(self._inner, name)


async def test_without_the_database_heartbeats_count_and_registrations_do_not(storage: Storage) -> None:
    storage.workers = Away(storage.workers)
    a = workers_of(storage)
    await a.register("n", BODY, NODE)
    storage.workers.away = True
    a.heartbeat("n", {"cpu_usage": 9}, NODE)
    with pytest.raises(StorageUnavailable):
        await a.flush()
    with pytest.raises(StorageUnavailable):
        await a.register("m", BODY, NODE)
    with pytest.raises(StorageUnavailable):
        await a.remove("n")
    assert a.all().keys() == {"n"}
    failures: list[Exception] = []
    failed = asyncio.Event()

    def note(error: Exception) -> None:
        failures.append(error)
        failed.set()

    async def soon(seconds: float) -> None:
        await asyncio.sleep(0)

    loop = asyncio.create_task(a.keep(soon, note, others=True))
    async with asyncio.timeout(5):
        await failed.wait()
        storage.workers.away = False
        while (await storage.workers.list())[0].cpu_usage != 9:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0)
    loop.cancel()
    assert all(isinstance(error, StorageUnavailable) for error in failures)
