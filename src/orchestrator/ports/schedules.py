"""Where schedules are kept."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.schedule import Schedule


class ScheduleStore(Protocol):
    """Every method raises StorageUnavailable when the database cannot be reached."""

    async def add(self, schedule: Schedule) -> None:
        """A new one. `Conflict` for an id that exists."""

    async def get(self, schedule_id: str) -> Schedule | None: ...

    async def list(self, limit: int, after: str = "") -> tuple[Schedule, ...]:
        """A page in the order of the ids, of those behind `after`."""

    async def due(self, now: float, limit: int) -> tuple[Schedule, ...]:
        """Those whose `next_run_at` has come, the most overdue first."""

    async def next_due(self) -> float | None:
        """The smallest `next_run_at`."""

    async def save(self, schedule: Schedule, expected: int) -> bool:
        """Replaces it where the stored one has the version `expected`; False when it has another, or is gone."""

    async def delete(self, schedule_id: str) -> bool:
        """Whether it was stored."""
