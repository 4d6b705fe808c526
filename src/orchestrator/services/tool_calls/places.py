"""How many calls run at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from orchestrator.domain.errors import ToolsBusy

RETRY_AFTER = 1.0  # seconds


class Places:
    """A place is taken and, in the end, left; who waits is served in the order of coming."""

    def __init__(self, limit: Callable[[], int], patience: Callable[[], float]) -> None:
        """Both may change meanwhile; `patience` is in seconds."""
        self.taken = 0
        self._limit = limit
        self._patience = patience
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self) -> None:
        """Raises ToolsBusy when none gets free in time."""
        if self.taken < self._limit() and not self._waiting:
            self.taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(turn, self._patience())
        except TimeoutError:
            self._give_up(turn)
            raise ToolsBusy(
                f"{self.taken} calls of tools run, and none ended in {self._patience():g} s.", retry_after=RETRY_AFTER
            ) from None
        except asyncio.CancelledError:
            self._give_up(turn)
            raise

    def leave(self) -> None:
        self.taken -= 1
        self._serve()

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif turn.done() and not turn.cancelled():  # it was given a place in the same moment
            self.leave()

    def _serve(self) -> None:
        while self._waiting and self.taken < self._limit():
            turn = self._waiting.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)
