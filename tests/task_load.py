"""Load that outlives the service: clients that submit each task with an idempotency key until they are told that it is
in, nodes that run them, and what all of them saw, for the history checker."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import TaskQuery
from orchestrator.storage import open_storage
from orchestrator.testing.task_history import Accepted, Began, Event, Fault, Record, Reported, check
from raw_client import RawClient
from service import SpawnedService
from worker_stubs import API, Worker

CONFIG: dict[str, Any] = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}
COUNT = 1_000
CLIENTS = 16
LEFT = ("pending", "active", "failed")
AGAIN = 0.05  # seconds between two tries of a client


class Place:
    """Where the service is just now."""

    def __init__(self) -> None:
        self.urls = ["http://127.0.0.1:1"]
        self._turn = 0

    def __call__(self) -> str:
        """One of the replicas, by turns."""
        self._turn += 1
        return self.urls[self._turn % len(self.urls)]


class Load:
    """`COUNT` tasks, and their history. Each client rests for `pause` seconds before a task."""

    def __init__(self, place: Place, *, count: int = COUNT, pause: float = 0.0) -> None:
        self.events: list[Event] = []
        self.note: Callable[[Event], None] = self.events.append
        self.keys = [f"k{number}" for number in range(count)]
        self.accepted: dict[str, str] = {}  # task by key
        self._place = place
        self._pause = pause

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[asyncio.Future[Any]]:
        """The future ends when everything was accepted."""
        left, client = iter(self.keys), RawClient()
        work = asyncio.gather(*(self._submit(client, left) for _ in range(CLIENTS)))
        try:
            yield work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await client.close()

    async def _submit(self, client: RawClient, keys: Iterable[str]) -> None:
        for key in keys:
            await asyncio.sleep(self._pause)
            body, headers = {"task_type": "noop", "input_data": key}, {"Idempotency-Key": key}
            while key not in self.accepted:
                try:
                    answer = await client.post(self._place() + API + "/tasks", body, headers)
                except (OSError, EOFError):
                    await asyncio.sleep(AGAIN)
                    continue
                if answer.status_code == 200:
                    self.accepted[key] = task = answer.json()["task_id"]
                    self.note(Accepted(time.monotonic(), key, task))
                else:
                    assert answer.status_code == 503, answer.text
                    await asyncio.sleep(AGAIN)

    def part(self, share: float, workers: Iterable[Worker] = ()) -> Callable[[], bool]:
        """A condition: such a share of the tasks is accepted, and each node had some."""
        workers = tuple(workers)
        return lambda: len(self.accepted) >= share * len(self.keys) and all(len(one.given) > 10 for one in workers)

    def fault(self, node: str = "") -> None:
        self.note(Fault(time.monotonic(), node))

    def open(self, node: str) -> set[tuple[str, int]]:
        """The attempts that the node was given and has not reported, and that nobody has begun anew."""
        latest: dict[str, Began] = {}
        ended: set[tuple[str, int]] = set()
        for event in self.events:
            if isinstance(event, Reported):
                ended.add((event.task, event.attempt))
            elif isinstance(event, Began):
                known = latest.get(event.task)
                if known is None or event.attempt > known.attempt:
                    latest[event.task] = event
        return {(task, one.attempt) for task, one in latest.items() if one.node == node} - ended

    async def died(self, service: SpawnedService, failpoint: str = "") -> None:
        """Waits for the end of a process that kills itself, under load."""
        code = await asyncio.to_thread(service.ended, 40)
        said = service.log.read_text()
        assert code is not None, f"{failpoint} was never reached; {len(self.accepted)} tasks are accepted"
        assert code == -signal.SIGKILL, said[-4_000:]
        assert f"failpoint {failpoint}:" in said
        assert len(self.accepted) < len(self.keys), "it was not under load"
        await asyncio.sleep(0.1)  # what has left the process may still be on its way
        self.fault()

    async def check(self, database_url: str) -> None:
        """Whether clients, nodes and database tell one story. For a database that nobody writes to any more."""
        query = TaskQuery(limit=2 * len(self.keys))
        async with open_storage(database_url) as storage:
            tasks = await storage.ledger.page(query)
            counts = await storage.ledger.counts()
        ended = counts.ended.get(TaskState.COMPLETED, 0)
        wrong = check(self.events, [_record(task) for task in tasks], asked=self.keys, completed=ended)
        assert not wrong, f"{len(wrong)} violations: " + "\n".join(wrong[:20])
        assert len(tasks) == len(self.keys)

    async def finish(self, url: str, clients: asyncio.Future[Any], workers: Iterable[Worker], timeout: float) -> None:
        """Until everything is accepted, completed and reported."""
        begun = time.monotonic()
        async with asyncio.timeout(timeout):
            await clients
        await completed(url, len(self.keys), timeout - (time.monotonic() - begun))
        await until(lambda: not any(one.working for one in workers))


def _record(task: Task) -> Record:
    result = json.loads(task.result) if task.result is not None else None
    return Record(task.id, task.spec.idempotency_key, task.state.value, task.attempt, task.retries, task.node, result)


async def summary(url: str) -> dict[str, int]:
    client = RawClient()
    try:
        found: dict[str, int] = (await client.get(url + API + "/tasks?limit=1")).json()["summary"]
    finally:
        await client.close()
    return found


async def completed(url: str, count: int, timeout: float = 60.0) -> None:
    client = RawClient()
    try:
        async with asyncio.timeout(timeout):
            while (await summary(url))["completed_count"] < count:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.05)
    except TimeoutError:
        left = [(await client.get(f"{url}{API}/tasks?status={name}&limit=5")).json()["tasks"] for name in LEFT]
        raise AssertionError(f"not all completed: {await summary(url)}: {left}") from None
    finally:
        await client.close()


async def until(condition: Callable[[], object], timeout: float = 40.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.01)
