"""What time and deaths of processes do to calls of tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.tool_call import CallQuery, CallState, ToolCall, moved
from orchestrator.ports.tool_calls import ToolCallStore
from orchestrator.services.clock import Clock
from orchestrator.services.tool_calls import journal
from orchestrator.services.tool_calls.conduct import Conduct
from orchestrator.services.tool_calls.rules import CallRules
from orchestrator.services.tool_calls.secrets import masked

LOOK = 1.0  # seconds between two looks at what other processes did to calls of this one
EXPIRE_EVERY, FORGET_EVERY = 10, 60  # looks
AT_ONCE = 500  # calls
MOST_AT_ONCE = 20_000  # calls that one round forgets


class CallUpkeep:
    """Writes down the ends that nobody else does."""

    def __init__(
        self, store: ToolCallStore, conduct: Conduct, clock: Clock, rules: Callable[[], CallRules], *, alone: bool
    ) -> None:
        """`alone`: no other process can use this database."""
        self._store = store
        self._conduct = conduct
        self._clock = clock
        self._rules = rules
        self._alone = alone

    async def recover(self, dead: Collection[str]) -> int:
        """Before the first call of this process: calls of processes that are gone are interrupted; how many. `dead` are
        owners that are known to be gone. Raises StorageUnavailable."""
        count = 0
        for call in await self._store.running():
            if self._alone or call.owner in dead:
                count += await self._conduct.interrupt(call)
        journal.interrupted(count)
        return count

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Again and again, until cancelled."""
        number = 0
        while True:
            try:
                await self._round(number)
            except StorageUnavailable as error:
                journal.not_written(error.message)
            number += 1
            await sleep(LOOK)

    async def _round(self, number: int) -> None:
        if not self._alone:
            await self._conduct.look()
        if number % EXPIRE_EVERY == 0:
            await self.expire()
        if number % FORGET_EVERY == 0:
            await self.forget()

    async def expire(self) -> None:
        """Calls that nobody decided about in time expire; calls whose process must be gone are interrupted. Raises
        StorageUnavailable."""
        now = self._clock.wall()
        expired = 0
        for call in await self._store.page(CallQuery(state=CallState.PENDING_APPROVAL, due=now), AT_ONCE, 0):
            expired += await self._store.save(_expired(call, now), call)
        journal.expired(expired)
        interrupted = 0
        for call in await self._store.page(CallQuery(state=CallState.RUNNING, due=now), AT_ONCE, 0):
            if not self._conduct.has(call.id):
                interrupted += await self._conduct.interrupt(call)
        journal.interrupted(interrupted)

    async def forget(self) -> int:
        """Deletes old calls; how many. Raises StorageUnavailable."""
        before, count = self._clock.wall() - self._rules().keep, 0
        while count < MOST_AT_ONCE:
            gone = await self._store.forget(before, AT_ONCE)
            count += gone
            if gone < AT_ONCE:
                break
        return count


def _expired(call: ToolCall, now: float) -> ToolCall:
    return moved(call, CallState.EXPIRED, ended_at=now, arguments=masked(call.arguments, call.secrets))
