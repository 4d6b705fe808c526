"""Schedules: submits a task at each tick, once however many processes look after the same schedules.

The task of a tick is submitted first, with an idempotency key made of the schedule and the tick; then the schedule
moves on, if nobody has moved it yet. Two processes that find the same tick make one task, and one that dies in between
leaves a tick that is found again and makes no second task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from orchestrator.domain.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    OrchestratorError,
    ShuttingDown,
    StorageUnavailable,
)
from orchestrator.domain.schedule import (
    Following,
    Schedule,
    failed,
    interval_after,
    is_missed,
    passed_over,
    planned,
    ran,
)
from orchestrator.domain.storable import plain_text
from orchestrator.ports.cron import Cron
from orchestrator.ports.schedules import ScheduleStore
from orchestrator.services.tasks.schedule_body import ScheduleBody, run_of, schedule_of
from orchestrator.services.tasks.tasks import Tasks

SHORTEST = 0.001  # seconds
LOOK = 5.0  # seconds after which another process's changes are seen
AFTER_FAILURE = 1.0
AT_ONCE = 100
RACES = 10  # lost against other processes that change the same schedule
_log = logging.getLogger("orchestrator.schedules")


class Schedules:
    """The use cases and the loop; one per process."""

    def __init__(
        self, store: ScheduleStore, cron: Cron, tasks: Tasks, wall: Callable[[], float], draw: Callable[[], str]
    ) -> None:
        """`wall` tells the time in seconds since the epoch, `draw` gives ids."""
        self._store = store
        self._cron = cron
        self._tasks = tasks
        self._wall = wall
        self._draw = draw
        self._changed = asyncio.Event()

    # What is there

    async def get(self, schedule_id: str) -> Schedule:
        """Raises NotFound."""
        found = await self._store.get(schedule_id)
        if found is None:
            raise NotFound("Schedule not found", details={"code": "SCHEDULE_NOT_FOUND", "schedule_id": schedule_id})
        return found

    async def page(self, limit: int, after: str = "") -> tuple[Schedule, ...]:
        """In the order of the ids, those behind `after`."""
        return await self._store.list(limit, after)

    async def coming(self, schedule_id: str, count: int) -> list[float]:
        """The next ticks, as if it were not paused. Raises NotFound."""
        schedule = await self.get(schedule_id)
        following, moment, found = self._following(schedule), self._wall(), list[float]()
        while len(found) < count and (tick := following(moment)) is not None:
            found.append(tick)
            moment = tick
        return found

    # Changes

    async def create(self, body: ScheduleBody, principal: str) -> Schedule:
        """Raises InvalidRequest, and Conflict for an id that exists."""
        now = self._wall()
        schedule = schedule_of(body, body.schedule_id or f"schedule_{self._draw()}", principal, now)
        schedule = self._checked(schedule, now)
        try:
            await self._store.add(schedule)
        except Conflict:
            raise Conflict(f"a schedule '{schedule.id}' exists", details={"schedule_id": schedule.id}) from None
        self._changed.set()
        return schedule

    async def put(self, schedule_id: str, body: ScheduleBody) -> Schedule:
        """Another definition; what it has done so far stays. Raises NotFound, InvalidRequest, Conflict."""
        if body.schedule_id not in (None, schedule_id):
            raise InvalidRequest("schedule_id: cannot be changed", details={"field": "schedule_id"})

        def change(old: Schedule, now: float) -> Schedule:
            new = schedule_of(body, schedule_id, old.principal, now)
            same_rhythm = new.every == old.every and body.start_at is None
            return replace(
                old,
                task=new.task,
                cron=new.cron,
                every=new.every,
                zone=new.zone,
                catch_up=new.catch_up,
                jitter=new.jitter,
                paused=old.paused if body.paused is None else body.paused,
                anchor=old.anchor if same_rhythm else new.anchor,
                last_error="",
                caught_up=0,
            )

        return await self._change(schedule_id, lambda old, now: self._checked(change(old, now), now))

    async def pause(self, schedule_id: str) -> Schedule:
        """Raises NotFound."""
        return await self._change(
            schedule_id, lambda old, now: replace(old, paused=True, tick=None, next_run_at=None, caught_up=0)
        )

    async def resume(self, schedule_id: str) -> Schedule:
        """Goes on with the next tick; those of the pause are not made up for. Raises NotFound."""

        def go_on(old: Schedule, now: float) -> Schedule:
            return planned(replace(old, paused=False), self._following(old), now) if old.paused else old

        return await self._change(schedule_id, go_on)

    async def delete(self, schedule_id: str) -> None:
        """Tasks that were submitted stay. Raises NotFound."""
        if not await self._store.delete(schedule_id):
            await self.get(schedule_id)

    async def trigger(self, schedule_id: str, key: str = "") -> str:
        """A run now, beside the ticks, paused or not; the task's id. `key` is an idempotency key. Raises NotFound and
        what a submission raises."""
        schedule = await self.get(schedule_id)
        own = f"schedule:{schedule_id}:run:{key}" if key else ""
        task, _ = await self._tasks.intake.submit(run_of(schedule, None), schedule.principal, own)
        await self._change(
            schedule_id,
            lambda old, now: replace(old, last_run_at=now, last_task=task.id, last_error="", runs=old.runs + 1),
        )
        return task.id

    async def _change(self, schedule_id: str, change: Callable[[Schedule, float], Schedule]) -> Schedule:
        for _ in range(RACES):
            old = await self.get(schedule_id)
            new = replace(change(old, self._wall()), version=old.version + 1)
            if await self._store.save(new, old.version):
                self._changed.set()
                return new
        raise Conflict(f"schedule '{schedule_id}' changes all the time: try again")

    def _checked(self, schedule: Schedule, now: float) -> Schedule:
        """The schedule with its next tick. Raises InvalidRequest for an expression or a zone that does not exist, also
        while it is paused."""
        following = self._following(schedule)
        self._cron.after("* * * * *", schedule.zone, now)
        if following(now) is None:
            raise InvalidRequest("cron: this never comes", details={"field": "cron"})
        return planned(schedule, following, now)

    def _following(self, schedule: Schedule) -> Following:
        every, anchor = schedule.every, schedule.anchor
        if every is not None:
            return lambda moment: interval_after(anchor, every, moment)
        return lambda moment: self._cron.after(schedule.cron, schedule.zone, moment)

    # Ticks

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                pause = await self._turn()
            except StorageUnavailable as error:
                _log.warning("schedules_not_read", extra={"error": error.message})
                pause = AFTER_FAILURE
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _turn(self) -> float:
        """Runs what is due; how many seconds may pass until the next look."""
        self._changed.clear()
        count = await self.look()
        due = await self._store.next_due()
        if due is None:
            return LOOK
        # What is still due could not be submitted: the service is stopped, or the ledger away.
        wait = due - self._wall()
        return AFTER_FAILURE if wait <= 0 and count == 0 else min(max(wait, SHORTEST), LOOK)

    async def look(self) -> int:
        """Runs what is due now, at most AT_ONCE; how many schedules moved on. Raises StorageUnavailable."""
        moved = 0
        for schedule in await self._store.due(self._wall(), AT_ONCE):
            try:
                moved += await self._tick(schedule)
            except (ShuttingDown, StorageUnavailable) as error:
                _log.warning("tick_not_submitted", extra={"schedule": schedule.id, "error": error.message})
        return moved

    async def _tick(self, schedule: Schedule) -> bool:
        """Raises ShuttingDown and StorageUnavailable: the tick is still to come."""
        now, following = self._wall(), self._following(schedule)
        if is_missed(schedule, now):
            new = passed_over(schedule, following, now)
            _log.info("tick_missed", extra={"schedule": schedule.id, "tick": schedule.tick})
        else:
            task_id, error = await self._submitted(schedule)
            if error:
                new = failed(schedule, following, now, error)
                _log.warning("tick_failed", extra={"schedule": schedule.id, "error": error})
            else:
                new = ran(schedule, following, now, task_id)
        await self._store.save(replace(new, version=schedule.version + 1), schedule.version)
        return True

    async def _submitted(self, schedule: Schedule) -> tuple[str, str]:
        """The id of the tick's task, or why there is none."""
        try:
            task, _ = await self._tasks.intake.submit(run_of(schedule, schedule.tick), schedule.principal, schedule.key)
        except (ShuttingDown, StorageUnavailable):
            raise
        except Conflict as error:
            # Another process has submitted this tick before the template was changed.
            if there := str(error.details.get("task_id") or ""):
                return there, ""
            return "", plain_text(error.message, 1_000)
        except OrchestratorError as error:
            return "", plain_text(error.message, 1_000)
        return task.id, ""
