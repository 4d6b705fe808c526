from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.worker import Agent, Worker, WorkerMode, WorkerStatus
from orchestrator.ports.store import Storage

PLAIN = Worker("a")
FULL = Worker(
    id="gpu-1.rack_2",
    host="10.0.0.5",
    port=8090,
    node_type="enhanced_node",
    status=WorkerStatus.OFFLINE,
    held=WorkerStatus.MAINTENANCE,
    mode=WorkerMode.PULL,
    capabilities=frozenset({"gpu", "größe '); DROP TABLE workers"}),
    task_types=frozenset({"train", "infer"}),
    labels={"zone": "b", "": "🚚"},
    slots=64,
    agents=(
        Agent("a1", "vision", "busy", ("see", "hear"), ("llava",), 2, 7, 0.5, {"cpu": [1, None, {"x": "y"}]}, 5.25),
        Agent("a2"),
    ),
    agents_count=9,
    version="2.0",
    location="rack 2",
    metadata={"task_path": "/x", "deep": {"list": [1, 2.5, "3", None, True]}},
    cpu_usage=45.2,
    memory_usage=62.8,
    gpu_usage=1.0,
    load_score=0.52,
    memory_mb=65536.0,
    network_latency=1.5,
    reliability=0.75,
    task_seconds=0.125,
    tasks_completed=2**40,
    tasks_failed=3,
    registered_at=1_763_690_000.123456,
    up_since=1_763_690_001.5,
    heartbeat_at=1_763_690_002.5,
    owner="config:nodes",
)


async def test_a_new_storage_has_no_workers(storage: Storage) -> None:
    assert await storage.workers.list() == ()
    assert not await storage.workers.delete("a")


async def test_every_field_comes_back_as_it_was_put(storage: Storage) -> None:
    for worker in (FULL, PLAIN):
        await storage.workers.put(worker)
    assert await storage.workers.list() == (PLAIN, FULL)
    stored = (await storage.workers.list())[1]
    assert type(stored.status) is type(stored.held) is WorkerStatus
    assert type(stored.mode) is WorkerMode


async def test_put_replaces_the_whole_worker(storage: Storage) -> None:
    await storage.workers.put(replace(FULL, id="a"))
    await storage.workers.put(PLAIN)
    assert await storage.workers.list() == (PLAIN,)


async def test_put_many_writes_what_changes_and_nothing_else(storage: Storage) -> None:
    known = replace(FULL, id="b", status=WorkerStatus.ACTIVE)
    for worker in (PLAIN, known):
        await storage.workers.put(worker)
    seen = replace(FULL, id="b", host="elsewhere", slots=1, owner="x", held=None, labels={}, cpu_usage=1.0, agents=())
    gone = replace(FULL, id="gone")
    await storage.workers.put_many([replace(PLAIN, tasks_completed=5), seen, gone])
    assert await storage.workers.list() == (
        replace(PLAIN, tasks_completed=5),
        replace(known, status=WorkerStatus.OFFLINE, cpu_usage=1.0, agents=()),
    )
    await storage.workers.put_many([])


async def test_delete_says_whether_there_was_one(storage: Storage) -> None:
    await storage.workers.put(PLAIN)
    assert await storage.workers.delete("a")
    assert not await storage.workers.delete("a")
    assert not await storage.workers.delete("a\0")
    assert await storage.workers.list() == ()


@pytest.mark.parametrize(
    "bad",
    [
        replace(PLAIN, id="a\0"),
        replace(PLAIN, id="x" * 513),
        replace(PLAIN, host="\ud800"),
        replace(PLAIN, capabilities=frozenset({"a\0"})),
        replace(PLAIN, cpu_usage=float("nan")),
        replace(PLAIN, tasks_completed=2**63),
        replace(PLAIN, metadata={"x": "\0"}),
    ],
)
async def test_what_no_database_can_hold_is_refused(storage: Storage, bad: Worker) -> None:
    with pytest.raises(InvalidRequest):
        await storage.workers.put(bad)
    with pytest.raises(InvalidRequest):
        await storage.workers.put_many([PLAIN, bad])
    assert await storage.workers.list() == ()
