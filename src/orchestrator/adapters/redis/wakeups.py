"""Wake-ups by Redis' publish and subscribe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from orchestrator.domain.errors import ConfigurationError
from orchestrator.ports.wakeups import Wakeup

COLLECT = 0.01  # seconds: one message at most in so long
PATIENCE = 3.0  # seconds for a connection, and for an answer
QUIET = 5.0  # seconds without a message after which Redis is asked whether it is there
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds before a connection is made again
_log = logging.getLogger("orchestrator.redis")


class RedisWakeups:
    """`Wakeups`. While Redis is away, replicas hear of each other as without it: that is logged once."""

    def __init__(self, url: str, installation: str, owner: str) -> None:
        """`installation` is the same for all replicas, `owner` this one's name. Raises ConfigurationError."""
        try:
            import redis.asyncio
        except ImportError as error:
            raise ConfigurationError(
                "redis.url needs the package redis: install orchestrator[redis]", details={"extra": "redis"}
            ) from error
        self._where = urlsplit(url).hostname or "a socket"  # what may be logged: the URL can hold a password
        self._channel = f"orchestrator:{installation}:wakeups"
        self._owner = owner
        self._kinds: set[Wakeup] = set()
        self._some = asyncio.Event()
        self._away = False
        try:
            self._client: Any = redis.asyncio.Redis.from_url(
                url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, decode_responses=True, retry=_once()
            )
        except ValueError as error:
            raise ConfigurationError("redis.url is not the URL of a Redis") from error

    def tell(self, kind: Wakeup) -> None:
        self._kinds.add(kind)
        self._some.set()

    async def run(self, heard: Callable[[Wakeup], None]) -> None:
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._again_and_again(self._speak))
                ways.create_task(self._again_and_again(lambda: self._listen(heard)))
        finally:
            await self._client.aclose()

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        import redis

        pause = FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                await work()
            except (redis.RedisError, OSError) as error:
                self._gone(error)
            pause = FIRST_PAUSE if loop.time() - begun > LONGEST_PAUSE else min(pause * 2, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _speak(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(COLLECT)
            self._some.clear()
            kinds, self._kinds = self._kinds, set()
            await self._client.publish(self._channel, " ".join((self._owner, *sorted(kinds))))

    async def _listen(self, heard: Callable[[Wakeup], None]) -> None:
        async with self._client.pubsub() as subscription:
            await subscription.subscribe(self._channel)
            self._there()
            for kind in Wakeup:
                heard(kind)
            asked: float | None = None
            loop = asyncio.get_running_loop()
            while True:
                message = await subscription.get_message(ignore_subscribe_messages=True, timeout=QUIET)
                if message is not None:
                    asked = None
                    self._hear(message, heard)
                elif asked is None:
                    asked = loop.time()
                    await subscription.ping()
                elif loop.time() - asked >= QUIET:
                    raise ConnectionError("no answer")

    def _hear(self, message: dict[str, Any], heard: Callable[[Wakeup], None]) -> None:
        if message["type"] != "message":
            return
        owner, *kinds = str(message["data"]).split()
        for kind in Wakeup:
            if owner != self._owner and kind.value in kinds:
                heard(kind)

    def _gone(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            text = str(error).partition("\n")[0] or type(error).__name__
            _log.warning("redis_gone", extra={"host": self._where, "error": text})

    def _there(self) -> None:
        if self._away:
            self._away = False
            _log.info("redis_back", extra={"host": self._where})


def _once() -> Any:
    """No trying again inside the library: a word that is late is worth nothing."""
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Retry(NoBackoff(), 0)
