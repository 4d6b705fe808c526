"""Wake-ups by Redis' publish and subscribe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from orchestrator.adapters.redis.channel import RedisChannel
from orchestrator.ports.wakeups import Wakeup

COLLECT = 0.01  # seconds: one message at most in so long


class RedisWakeups:
    """`Wakeups`. While Redis is away, replicas hear of each other as without it."""

    def __init__(self, url: str, installation: str, owner: str) -> None:
        """`installation` is the same for all replicas, `owner` this one's name. Raises ConfigurationError."""
        self._channel = RedisChannel(url, f"orchestrator:{installation}:wakeups")
        self._owner = owner
        self._kinds: set[Wakeup] = set()
        self._some = asyncio.Event()

    def tell(self, kind: Wakeup) -> None:
        self._kinds.add(kind)
        self._some.set()

    async def run(self, heard: Callable[[Wakeup], None]) -> None:
        def hear(text: str) -> None:
            owner, *kinds = text.split()
            for kind in Wakeup:
                if owner != self._owner and kind.value in kinds:
                    heard(kind)

        def hear_all() -> None:
            for kind in Wakeup:
                heard(kind)

        await self._channel.run(self._speak, hear, hear_all)

    async def _speak(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(COLLECT)
            self._some.clear()
            kinds, self._kinds = self._kinds, set()
            await self._channel.say(" ".join((self._owner, *sorted(kinds))))
