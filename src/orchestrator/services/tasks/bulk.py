"""The same done to many tasks: counted first, then done in the background, a page at a time, newest first.

A run is this process's: one that a restart ends is begun again by asking again, and finds what is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.domain.errors import Conflict, InvalidRequest, NotFound, OrchestratorError
from orchestrator.domain.task.state import FINISHED, TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import TaskQuery
from orchestrator.services.tasks.numbers import seq_at
from orchestrator.services.tasks.scheduler import Scheduler
from orchestrator.services.tasks.tasks import Tasks

PAGE = 500  # tasks read, and changed in one transaction
MOST = 1_000_000  # tasks of one run
MOST_COUNTED = 100_000  # beyond it a count is only known to be higher
AT_ONCE = 4  # runs
KEPT = 100  # runs that can be looked at
_log = logging.getLogger("orchestrator.tasks")


class BulkAction(StrEnum):
    CANCEL = "cancel"
    RETRY = "retry"

    @property
    def states(self) -> frozenset[TaskState]:
        """Which tasks it can be done to."""
        if self is BulkAction.CANCEL:
            return frozenset(TaskState) - FINISHED
        return frozenset({TaskState.FAILED, TaskState.TIMEOUT, TaskState.CANCELLED})


class BulkState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True)
class BulkRun:
    """`total` is how many there were to begin with, at least (`exact` says whether it is the number), `skipped` had
    changed in the meantime. Times in seconds since the epoch."""

    id: str
    action: BulkAction
    total: int
    exact: bool
    began_at: float
    state: BulkState = BulkState.RUNNING
    done: int = 0
    skipped: int = 0
    error: str = ""
    ended_at: float | None = None


class Bulk:
    """One per process."""

    def __init__(self, tasks: Tasks, scheduler: Scheduler, wall: Callable[[], float], token: Callable[[], str]) -> None:
        """`wall` tells the time in seconds since the epoch, `token` draws names."""
        self._tasks = tasks
        self._scheduler = scheduler
        self._wall = wall
        self._token = token
        self._runs: dict[str, BulkRun] = {}
        self._working: dict[str, asyncio.Task[None]] = {}

    def query(self, action: BulkAction, wanted: TaskQuery, submitted_before: float | None) -> TaskQuery:
        """What an action asked for these tasks is about: those that it can be done to. Raises
        InvalidRequest where it can be done to none of their states."""
        states = (wanted.states or action.states) & action.states
        if not states:
            names = ", ".join(sorted(action.states))
            raise InvalidRequest(f"{action} is for tasks that are {names}", details={"field": "filter.status"})
        before = seq_at(submitted_before) if submitted_before is not None else None
        return replace(wanted, states=states, before=before, limit=PAGE, offset=0)

    async def count(self, query: TaskQuery) -> tuple[int, bool]:
        """How many tasks there are, and whether that is the number or only the least. Raises StorageUnavailable."""
        count, page = 0, await self._tasks.page(query)
        while page:
            count += len(page)
            if len(page) < PAGE or count >= MOST_COUNTED:
                return count, len(page) < PAGE
            page = await self._tasks.page(replace(query, before=page[-1].spec.seq))
        return count, True

    async def begin(self, action: BulkAction, query: TaskQuery, reason: str) -> BulkRun:
        """Goes on in the background. Raises Conflict while there are too many, StorageUnavailable."""
        if len(self._working) >= AT_ONCE:
            raise Conflict(f"{AT_ONCE} bulk operations are under way: wait for one, or stop it")
        total, exact = await self.count(query)
        run = BulkRun(self._token(), action, total, exact, self._wall())
        self._runs[run.id] = run
        while len(self._runs) > KEPT:
            del self._runs[next(iter(self._runs))]
        working = self._working[run.id] = asyncio.create_task(self._work(run, query, reason))
        working.add_done_callback(lambda _task: self._working.pop(run.id, None))
        return run

    def get(self, run_id: str) -> BulkRun:
        """Raises NotFound."""
        run = self._runs.get(run_id)
        if run is None:
            raise NotFound("Bulk operation not found", details={"code": "BULK_NOT_FOUND"})
        return run

    def all(self) -> list[BulkRun]:
        """The latest first."""
        return list(reversed(self._runs.values()))

    async def wait(self, run_id: str, seconds: float) -> BulkRun:
        """The run when it has ended, or when the time is over. Raises NotFound."""
        run, working = self.get(run_id), self._working.get(run_id)
        if working is not None and seconds > 0:
            await asyncio.wait({working}, timeout=seconds)
        return run

    async def stop(self, run_id: str) -> BulkRun:
        """What is done stays done. Raises NotFound."""
        run, working = self.get(run_id), self._working.get(run_id)
        if working is not None:
            working.cancel()
            await asyncio.wait({working})
        return run

    async def close(self) -> None:
        """The process ends."""
        working = list(self._working.values())
        for one in working:
            one.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    async def _work(self, run: BulkRun, query: TaskQuery, reason: str) -> None:
        try:
            if run.action is BulkAction.CANCEL:
                await self._cancel(run, query, reason)
            else:
                await self._retry(run, query)
            run.state = BulkState.DONE
        except asyncio.CancelledError:
            run.state = BulkState.STOPPED
            raise
        except OrchestratorError as error:
            run.state, run.error = BulkState.FAILED, error.message
        except Exception:  # noqa: BLE001 - the edge of a task: logged whole, and the run must have an end
            run.state, run.error = BulkState.FAILED, "internal error"
            _log.exception("bulk_broke", extra={"run": run.id})
        finally:
            run.ended_at = self._wall()

    async def _cancel(self, run: BulkRun, query: TaskQuery, reason: str) -> None:
        async for page in self._pages(query):
            answers = await asyncio.gather(*(self._cancelled(task, reason) for task in page))
            _count(run, len(page), sum(answers))

    async def _retry(self, run: BulkRun, query: TaskQuery) -> None:
        """What depends on others comes behind all of them, the oldest first."""
        behind: list[str] = []
        async for page in self._pages(query):
            free = [task for task in page if not task.spec.dependencies]
            behind += [task.id for task in page if task.spec.dependencies]
            _count(run, len(free), len(await self._tasks.replays.many(free)))
        behind.reverse()
        for start in range(0, len(behind), PAGE):
            ids = behind[start : start + PAGE]
            _count(run, len(ids), len(await self._tasks.replays.many_of(ids)))

    async def _pages(self, query: TaskQuery) -> AsyncIterator[tuple[Task, ...]]:
        """Newest first, at most `MOST` tasks."""
        read = 0
        while read < MOST and (page := await self._tasks.page(query)):
            yield page
            read += len(page)
            query = replace(query, before=page[-1].spec.seq)
            await asyncio.sleep(0)

    async def _cancelled(self, task: Task, reason: str) -> bool:
        """False for a task that has changed in the meantime."""
        try:
            await self._scheduler.cancel(task, reason)
        except Conflict:
            return False
        return True


def _count(run: BulkRun, tried: int, done: int) -> None:
    run.done += done
    run.skipped += tried - done
