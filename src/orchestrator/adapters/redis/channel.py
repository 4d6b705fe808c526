"""Redis' publish and subscribe, for as long as a process lives: a Redis that is away is tried again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from orchestrator.domain.errors import ConfigurationError

PATIENCE = 3.0  # seconds for a connection, and for an answer
QUIET = 5.0  # seconds without a message after which Redis is asked whether it is there
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds before a connection is made again
STUBBORN = 0.1  # seconds before what was cancelled is cancelled again
_log = logging.getLogger("orchestrator.redis")


class RedisChannel:
    """One channel, of one process. While Redis is away nothing is heard: that is logged once."""

    def __init__(self, url: str, name: str, *, logged: bool = True) -> None:
        """`logged` False where another channel of the process logs whether Redis is there. Raises
        ConfigurationError."""
        try:
            import redis.asyncio
        except ImportError as error:
            raise ConfigurationError(
                "redis.url needs the package redis: install orchestrator[redis]", details={"extra": "redis"}
            ) from error
        self._where = urlsplit(url).hostname or "a socket"  # what may be logged: the URL can hold a password
        self._name = name
        self._logged = logged
        self._away = False
        try:
            self._client: Any = redis.asyncio.Redis.from_url(
                url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, decode_responses=True, retry=_once()
            )
        except ValueError as error:
            raise ConfigurationError("redis.url is not the URL of a Redis") from error

    async def say(self, text: str) -> None:
        """Raises what `run` deals with."""
        await self._client.publish(self._name, text)

    async def run(
        self,
        speak: Callable[[], Awaitable[None]],
        heard: Callable[[str], None],
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        """Speaks and listens until cancelled. `speak` goes on until it raises, and is called again; `heard` is called
        with each message, this process's own among them; `begun` when it listens, after a break too."""
        ways = [
            asyncio.create_task(self._again_and_again(speak)),
            asyncio.create_task(self._again_and_again(lambda: self._listen(heard, begun))),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            while not all(way.done() for way in ways):  # the library loses a cancellation while it connects
                for way in ways:
                    way.cancel()
                await asyncio.wait(ways, timeout=STUBBORN)
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

    async def _listen(self, heard: Callable[[str], None], begun: Callable[[], None]) -> None:
        async with self._client.pubsub() as subscription:
            await subscription.subscribe(self._name)
            self._there()
            begun()
            asked: float | None = None
            loop = asyncio.get_running_loop()
            while True:
                message = await subscription.get_message(ignore_subscribe_messages=True, timeout=QUIET)
                if message is not None:
                    asked = None
                    if message["type"] == "message":
                        heard(str(message["data"]))
                elif asked is None:
                    asked = loop.time()
                    await subscription.ping()
                elif loop.time() - asked >= QUIET:
                    raise ConnectionError("no answer")

    def _gone(self, error: Exception) -> None:
        if not self._away and self._logged:
            text = str(error).partition("\n")[0] or type(error).__name__
            _log.warning("redis_gone", extra={"host": self._where, "error": text})
        self._away = True

    def _there(self) -> None:
        if self._away and self._logged:
            _log.info("redis_back", extra={"host": self._where})
        self._away = False


def _once() -> Any:
    """No trying again inside the library: a word that is late is worth nothing."""
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Retry(NoBackoff(), 0)
