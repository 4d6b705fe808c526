"""One run under load in which the service is killed at a failpoint, and what must hold then."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from service import spawned_service
from task_load import CONFIG, Load, Place
from worker_stubs import Worker, pull_worker, push_worker

LEASE = 2.0  # seconds after which a process on PostgreSQL takes over from one that was killed
# By their first word: after so many hits the process dies, long before the end.
HITS = {"ledger": 60, "submit": 250, "assign": 250, "carrier": 250, "node": 150, "start": 60, "report": 250}
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


async def _nodes(stack: AsyncExitStack, place: Place, load: Load) -> list[Worker]:
    """One of each kind: it answers with the result, it reports later, it asks."""
    note = load.note
    accepting = push_worker("async", place, seconds=0.015, accepts=True, listener=note)
    return [
        await stack.enter_async_context(push_worker("sync", place, seconds=0.01, listener=note)),
        await stack.enter_async_context(accepting),
        await stack.enter_async_context(pull_worker("pull", place, seconds=0.01, listener=note)),
    ]
