"""When each task must be looked at next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.task import Task

SOONEST = 0.001  # seconds


class Timers:
    """Calls back when something is due. A task that changed has another moment: the old one is passed over."""

    def __init__(self, wall: Callable[[], float], ring: Callable[[], None]) -> None:
        """`wall` tells the time in seconds since the epoch; `ring` is called when something may be due."""
        self._wall = wall
        self._ring = ring
        self._moments: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._at = float("inf")

    def set(self, task: Task) -> None:
        moment = lifecycle.due(task)
        if moment is None or task.state.finished:
            self._moments.pop(task.id, None)
            return
        if self._moments.get(task.id) != moment:
            self._moments[task.id] = moment
            heappush(self._heap, (moment, task.id))
            self._arm()

    def forget(self, task_id: str) -> None:
        self._moments.pop(task_id, None)

    def due(self, now: float) -> Iterator[str]:
        """The tasks whose moment has come, each once."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            moment, task_id = heappop(heap)
            if self._moments.get(task_id) == moment:
                del self._moments[task_id]
                yield task_id
        self._at = float("inf")
        self._arm()

    def stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _arm(self) -> None:
        heap = self._heap
        while heap and self._moments.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        if heap and heap[0][0] < self._at:
            self.stop()
            self._at = heap[0][0]
            delay = max(self._at - self._wall(), SOONEST)
            self._alarm = asyncio.get_running_loop().call_later(delay, self._ring)
