"""Calls back after a while, for what hardly ever comes to that: nearly every alarm is cancelled. A timer of the event
loop for each would cost more than the work that it watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush

STEP = 0.25  # seconds; an alarm rings within the step after its moment


class Alarm:
    """One call that is to come."""

    __slots__ = ("_ring", "_slot")

    def __init__(self, ring: Callable[[], None], slot: set[Alarm]) -> None:
        self._ring: Callable[[], None] | None = ring
        self._slot = slot

    def cancel(self) -> None:
        """It does not ring any more. Of no effect when it has rung."""
        self._ring = None  # its moment may have come, and what comes before it at that moment cancels it
        self._slot.discard(self)

    def ring(self) -> None:
        if self._ring is not None:
            self._ring()


class Alarms:
    """Those of one event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None  # looked up once: each look costs a system call
        self._slots: dict[int, set[Alarm]] = {}  # by the number of the step in which they ring
        self._steps: list[int] = []  # a heap
        self._timer: asyncio.TimerHandle | None = None

    def after(self, seconds: float, ring: Callable[[], None]) -> Alarm:
        """Calls `ring` in so many seconds, or up to `STEP` later."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        step = int((loop.time() + seconds) / STEP) + 1
        slot = self._slots.get(step)
        if slot is None:
            slot = self._slots[step] = set()
            heappush(self._steps, step)
            if self._steps[0] == step:
                self._arm(loop)
        alarm = Alarm(ring, slot)
        slot.add(alarm)
        return alarm

    def stop(self) -> None:
        """Nothing rings any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stop()
        self._timer = loop.call_at(self._steps[0] * STEP, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._steps and self._steps[0] * STEP <= now:
            for alarm in self._slots.pop(heappop(self._steps)):
                loop.call_soon(alarm.ring)
        if self._steps:
            self._arm(loop)
