"""The hosts that tools connect to, each behind a breaker: one that keeps failing is left alone for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.domain.breaker import Breaker
from orchestrator.domain.breaker_policy import BreakerState, Transition
from orchestrator.domain.errors import InvalidRequest, ToolCrashed, ToolTimeout, UpstreamError, UpstreamTimeout
from orchestrator.domain.failure import classify

MOST_BREAKERS = 10_000
_log = logging.getLogger("orchestrator.tools")


class ToolHosts:
    """By `HOST:PORT`, since the start of the process."""

    def __init__(self, wall: Callable[[], float]) -> None:
        """`wall` tells seconds since the epoch."""
        self._wall = wall
        self._breakers: dict[str, Breaker] = {}

    def all(self) -> tuple[Breaker, ...]:
        """As of now: those that are shut out first, then by name."""
        now, found = self._wall(), [*self._breakers.values()]
        for breaker in found:
            breaker.tick(now)
        return tuple(sorted(found, key=lambda one: (one.state is BreakerState.CLOSED, one.node)))

    @contextmanager
    def judged(self, host: str) -> Iterator[None]:
        """What is raised inside is the host's verdict. Raises ToolCrashed while the host is shut out."""
        breaker = self._breaker(host)
        breaker.tick(self._wall())
        admission = breaker.allow(self._wall())
        if not admission:
            wait = breaker.time_left(self._wall())
            raise ToolCrashed(
                f"{host} has failed too often lately: {breaker.last_failure_reason}", retry_after=max(wait or 0.0, 1.0)
            )
        try:
            yield
        except UpstreamError as error:
            breaker.failure(self._wall(), classify(error), admission)
            kind = ToolTimeout if isinstance(error, UpstreamTimeout) else ToolCrashed
            raise kind(_said(error, host), retry_after=error.retry_after, details=error.details) from None
        except (InvalidRequest, asyncio.CancelledError):
            breaker.release(self._wall(), admission)
            raise
        else:
            breaker.success(self._wall(), admission)

    def _breaker(self, host: str) -> Breaker:
        found = self._breakers.get(host)
        if found is None:
            if len(self._breakers) >= MOST_BREAKERS:
                self._breakers.clear()
            found = self._breakers[host] = Breaker(host, observe=_told_of)
        return found


def _told_of(breaker: Breaker, change: Transition) -> None:
    level = logging.WARNING if change.state is BreakerState.OPEN else logging.INFO
    said = {"host": breaker.node, "previous": change.previous.value, "state": change.state.value}
    _log.log(level, "tool_host_changed", extra=said | {"reason": change.reason})


def _said(error: UpstreamError, host: str) -> str:
    """The port's sentences are about nodes; this one may be any server."""
    return f"{host}: {error.message}".replace("The node", "the server").replace(": The ", ": the ")
