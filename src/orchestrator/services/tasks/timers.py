"""When each task must be looked at next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.state import FINISHED
from orchestrator.domain.task.task import Task

SOONEST = 0.001  # seconds
STEP = 1.0  # seconds; of moments that are further away only the step is kept, as nearly all of them never come


class Timers:
    """Calls back when something is due. A task that changed has another moment: the old one is passed over."""

    def __init__(self, wall: Callable[[], float], ring: Callable[[], None]) -> None:
        """`wall` tells the time in seconds since the epoch; `ring` is called when something may be due."""
        self._wall = wall
        self._ring = ring
        self._moments: dict[str, float] = {}
        self._near: list[tuple[float, str]] = []  # a heap of the moments before `_horizon`, and of some that are gone
        self._far: dict[int, set[str]] = {}  # tasks by the number of their step
        self._steps: list[int] = []  # a heap of those
        self._horizon = 0.0  # where the steps begin
        self._alarm: asyncio.TimerHandle | None = None
        self._at = float("inf")

    def set(self, task: Task) -> None:
        moment = None if task.state in FINISHED else lifecycle.due(task)
        task_id = task.spec.id
        before = self._moments.get(task_id)
        if moment == before:
            return
        if before is not None:
            self.forget(task_id)
        if moment is None:
            return
        self._moments[task_id] = moment
        if moment < self._horizon:
            heappush(self._near, (moment, task_id))
            self._arm(moment)
        else:
            self._put_off(task_id, moment)

    def forget(self, task_id: str) -> None:
        moment = self._moments.pop(task_id, None)
        if moment is not None and moment >= self._horizon:
            self._far[int(moment // STEP)].discard(task_id)

    def due(self, now: float) -> Iterator[str]:
        """The tasks whose moment has come, each once."""
        self._come_near(now + STEP)
        near, moments = self._near, self._moments
        while near and near[0][0] <= now:
            moment, task_id = heappop(near)
            if moments.get(task_id) == moment:
                del moments[task_id]
                yield task_id
        while near and moments.get(near[0][1]) != near[0][0]:
            heappop(near)
        self._at = float("inf")
        if near:
            self._arm(near[0][0])
        if self._steps:
            self._arm(self._steps[0] * STEP)

    def stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _put_off(self, task_id: str, moment: float) -> None:
        number = int(moment // STEP)
        step = self._far.get(number)
        if step is None:
            step = self._far[number] = set()
            heappush(self._steps, number)
            self._arm(number * STEP)
        step.add(task_id)

    def _come_near(self, until: float) -> None:
        """Steps that begin before `until` are of importance now."""
        while self._steps and self._steps[0] * STEP < until:
            number = heappop(self._steps)
            for task_id in self._far.pop(number):
                heappush(self._near, (self._moments[task_id], task_id))
            self._horizon = max(self._horizon, (number + 1) * STEP)

    def _arm(self, moment: float) -> None:
        if moment < self._at:
            self.stop()
            self._at = moment
            delay = max(moment - self._wall(), SOONEST)
            self._alarm = asyncio.get_running_loop().call_later(delay, self._ring)
