"""Schedules in memory."""

from __future__ import annotations

from orchestrator.domain.errors import Conflict
from orchestrator.domain.schedule import Schedule, check_schedule
from orchestrator.domain.storable import is_key


class MemorySchedules:
    """`ScheduleStore` in a dict."""

    def __init__(self) -> None:
        self._schedules: dict[str, Schedule] = {}

    async def add(self, schedule: Schedule) -> None:
        check_schedule(schedule)
        if schedule.id in self._schedules:
            raise Conflict("a row with the same unique value exists")
        self._schedules[schedule.id] = schedule

    async def get(self, schedule_id: str) -> Schedule | None:
        return self._schedules.get(schedule_id) if is_key(schedule_id) else None

    async def list(self, limit: int, after: str = "") -> tuple[Schedule, ...]:
        if not is_key(after):
            return ()
        ids = sorted(one for one in self._schedules if one > after)
        return tuple(self._schedules[one] for one in ids[:limit])

    async def due(self, now: float, limit: int) -> tuple[Schedule, ...]:
        timed = ((one.next_run_at, one.id) for one in self._schedules.values() if one.next_run_at is not None)
        found = sorted(pair for pair in timed if pair[0] <= now)
        return tuple(self._schedules[one] for _, one in found[:limit])

    async def next_due(self) -> float | None:
        return min((one.next_run_at for one in self._schedules.values() if one.next_run_at is not None), default=None)

    async def save(self, schedule: Schedule, expected: int) -> bool:
        check_schedule(schedule)
        stored = self._schedules.get(schedule.id)
        if stored is None or stored.version != expected:
            return False
        self._schedules[schedule.id] = schedule
        return True

    async def delete(self, schedule_id: str) -> bool:
        return is_key(schedule_id) and self._schedules.pop(schedule_id, None) is not None
