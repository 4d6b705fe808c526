"""One run under load in which the service, or another process, is killed at a failpoint, and what must hold then."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from node_process import node_process
from orchestrator.testing.task_history import Fault
from raw_client import RawClient
from service import SpawnedService, merged, spawned_service
from task_load import CONFIG, Load, Place, until
from worker_stubs import Worker, pull_worker, push_worker

LEASE = 2.0  # seconds after which a process on PostgreSQL takes over from one that was killed
# By their first word: after so many hits the process dies, long before the end.
HITS = {"ledger": 60, "submit": 250, "assign": 100, "carrier": 100, "node": 100, "start": 60, "report": 100}
# These are on the way back: the process that dies there is the successor of one that was killed.
RECOVERY = {"takeover": 1, "release": 1}
BEFORE = "assign.after-record"  # something to take back is certain
PAUSE = 0.06  # seconds, so that a client's load outlasts a lease


async def killed_at(name: str, database_url: str, tmp_path: Path) -> None:
    """No accepted task is lost, none is recorded twice, attempts are counted right."""
    place, kind = Place(), name.partition(".")[0]
    load = Load(place, pause=PAUSE if kind in RECOVERY else 0.0)
    arguments = ("--database-url", database_url)
    first = BEFORE if kind in RECOVERY else name
    async with AsyncExitStack() as stack:
        point = f"{first}:{HITS[first.partition('.')[0]]}"
        with spawned_service(CONFIG, tmp_path, arguments=arguments, failpoint=point, lease=LEASE) as service:
            place.urls = [service.url]
            workers = await _nodes(stack, place, load)
            clients = await stack.enter_async_context(load.clients())
            await load.died(service, first)
        if kind in RECOVERY:
            point = f"{name}:{RECOVERY[kind]}"
            again = spawned_service(CONFIG, tmp_path, arguments=arguments, failpoint=point, lease=LEASE, ready=False)
            with again as service:
                place.urls = [service.url]
                await load.died(service, name)
        with spawned_service(CONFIG, tmp_path, arguments=arguments) as service:
            place.urls = [service.url]
            await load.finish(service.url, clients, workers, 60)
    await load.check(database_url)


NODE = "killed"
# A node that was silent for a second is given up.
QUICK = merged(CONFIG, {"tasks": {"node_timeout": 1.0, "heartbeat_interval": 0.2}})


async def node_killed_at(name: str, database_url: str, tmp_path: Path) -> None:
    """The same when a node dies there, and the service goes on."""
    await _other_killed_at(name, database_url, tmp_path, None, _nothing)


async def server_killed_at(
    name: str, database_url: str, tmp_path: Path, process: int, back: Callable[[], Awaitable[None]]
) -> None:
    """The same when the database's server dies there; `back` returns when it answers again."""
    await _other_killed_at(name, database_url, tmp_path, process, back)


async def _other_killed_at(
    name: str, database_url: str, tmp_path: Path, process: int | None, back: Callable[[], Awaitable[None]]
) -> None:
    place, kind, file = Place(), name.partition(".")[0], tmp_path / "victim.pid"
    load = Load(place, pause=PAUSE if kind in RECOVERY else 0.0)
    arguments = ("--database-url", database_url)
    config = CONFIG if process is not None else QUICK
    async with AsyncExitStack() as stack:

        async def begin(service: SpawnedService) -> list[Worker]:
            place.urls = [service.url]
            workers = await _nodes(stack, place, load)
            for worker in workers:
                worker.spawn(worker.beat(0.2))
            if process is None:
                node = await stack.enter_async_context(node_process("push", NODE, service.url, 0.02, load.note))
                file.write_text(str(node.process.pid))
            else:
                file.write_text(str(process))
            return workers

        point = f"{name}:{RECOVERY.get(kind) or HITS[kind]}"
        if kind in RECOVERY:
            first = f"{BEFORE}:{HITS[BEFORE.partition('.')[0]]}"
            with spawned_service(config, tmp_path, arguments=arguments, failpoint=first, lease=LEASE) as dying:
                workers = await begin(dying)
                clients = await stack.enter_async_context(load.clients())
                await load.died(dying, BEFORE)
        going = spawned_service(
            config, tmp_path, arguments=arguments, failpoint=point, victim=file, ready=kind not in RECOVERY
        )
        service = stack.enter_context(going)
        if kind in RECOVERY:
            place.urls = [service.url]
        else:
            workers = await begin(service)
            clients = await stack.enter_async_context(load.clients())
        at = await _killed(service, name)
        assert len(load.accepted) < len(load.keys), "it was not under load"
        if process is None:
            load.note(Fault(at, NODE))
        await back()
        if not await _answers(service):  # the database was away while it started, so it gave up
            load.fault()
            service = stack.enter_context(spawned_service(config, tmp_path, arguments=arguments))
            place.urls = [service.url]
        await load.finish(service.url, clients, workers, 60)
    await load.check(database_url)


async def _answers(service: SpawnedService) -> bool:
    """Whether it comes up: it must do that, or end, before the test's own time is over."""
    client = RawClient()
    try:
        async with asyncio.timeout(75):
            while service.ended(0) is None:
                try:
                    await client.get(f"{service.url}/health")
                except (OSError, EOFError):
                    await asyncio.sleep(0.05)
                else:
                    return True
            return False
    except TimeoutError:
        raise AssertionError(f"it neither serves nor ends:\n{service.log.read_text()[-5_000:]}") from None
    finally:
        await client.close()


async def _killed(service: SpawnedService, name: str) -> float:
    """The monotonic second at which the service killed its victim."""
    told = re.compile(rf"failpoint {re.escape(name)}: kills process \d+ at ([\d.]+)\n")
    await until(lambda: told.search(service.log.read_text()))
    found = told.search(service.log.read_text())
    assert found is not None
    return float(found[1])


async def _nothing() -> None:
    """Nothing has to come back."""


async def _nodes(stack: AsyncExitStack, place: Place, load: Load) -> list[Worker]:
    """One of each kind: it answers with the result, it reports later, it asks."""
    note = load.note
    accepting = push_worker("async", place, seconds=0.015, accepts=True, listener=note)
    return [
        await stack.enter_async_context(push_worker("sync", place, seconds=0.01, listener=note)),
        await stack.enter_async_context(accepting),
        await stack.enter_async_context(pull_worker("pull", place, seconds=0.01, listener=note)),
    ]
