"""What `GET /metrics` shows: a picture taken on the event loop, made into text beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from orchestrator.ports.record import RequestRecord
from orchestrator.ports.telemetry import Exposition, Family
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.metrics.catalogue import METRICS
from orchestrator.services.metrics.snapshot import ModelLabels, family, single, snapshot
from orchestrator.services.metrics.tally import Tally
from orchestrator.services.metrics.window import Windows

Source = Callable[[], Iterable[Family]]


class Metrics:
    """The numbers of one service."""

    def __init__(
        self, fleet: Fleet, gateway: Gateway, exposition: Exposition, *, version: str, more: Sequence[Source] = ()
    ) -> None:
        """Counts from now on. `more` are other parts that have numbers of their own."""
        self.tally = Tally()
        self._fleet = fleet
        self._gateway = gateway
        self._exposition = exposition
        self._version = version
        self._more = more
        self._started = fleet.clock.epoch
        self._label = ModelLabels()
        self._rendering = asyncio.Lock()
        gateway.on_record.append(self.tally.add)
        fleet.on_breaker.append(self.tally.transition)

    async def exposition(self, accept: str) -> tuple[str, bytes]:
        """The content type and the body. One at a time: a scrape costs a thread, and scrapes need no key."""
        async with self._rendering:
            families, history, now, whole = self._picture()
            return await asyncio.to_thread(self._render, families, history, now, whole, accept)

    def _picture(self) -> tuple[list[Family], Sequence[RequestRecord], float, bool]:
        gateway = self._gateway
        families = [
            family("orchestrator_build_info", [((self._version,), 1.0)]),
            single("orchestrator_ready", not gateway.closing),
            *snapshot(self._fleet, gateway, self.tally, self._label),
            *(one for source in self._more for one in source()),
        ]
        gateway.clock.tick()
        history = tuple(gateway.history)
        return families, history, gateway.clock.epoch, len(history) < (gateway.history.maxlen or 0)

    def _render(
        self, families: list[Family], history: Sequence[RequestRecord], now: float, whole: bool, accept: str
    ) -> tuple[str, bytes]:
        order = {name: index for index, name in enumerate(METRICS)}
        windows = Windows(history, now, self._started, self._label, whole=whole).families()
        families = sorted([*families, *windows], key=lambda one: order[one.name])
        return self._exposition.render(families, accept)
