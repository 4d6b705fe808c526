"""The gateway's counters, told to other replicas by Redis' publish and subscribe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

import msgspec

from orchestrator.adapters.redis.channel import RedisChannel
from orchestrator.ports.shared_counters import SharedCounters

EVERY = 0.1  # seconds between two messages

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class _Message(msgspec.Struct):
    owner: str
    spent: dict[str, _Seconds]
    in_flight: dict[str, _Count]


_decode = msgspec.json.Decoder(_Message).decode


class RedisCounters:
    """`CounterExchange`. While Redis is away, each replica counts for itself."""

    def __init__(self, url: str, installation: str, owner: str) -> None:
        """`installation` is the same for all replicas, `owner` this one's name. Raises ConfigurationError."""
        self._channel = RedisChannel(url, f"orchestrator:{installation}:counters", logged=False)  # the wake-ups' is
        self._owner = owner

    async def run(
        self, said: Callable[[], SharedCounters | None], heard: Callable[[str, SharedCounters], None]
    ) -> None:
        async def speak() -> None:
            while True:
                counters = said()
                if counters is not None:
                    message = _Message(self._owner, dict(counters.spent), dict(counters.in_flight))
                    await self._channel.say(msgspec.json.encode(message).decode())
                await asyncio.sleep(EVERY)

        def hear(text: str) -> None:
            try:
                message = _decode(text)
            except msgspec.DecodeError:  # of another release
                return
            if message.owner != self._owner:
                heard(message.owner, SharedCounters(message.spent, message.in_flight))

        await self._channel.run(speak, hear)
