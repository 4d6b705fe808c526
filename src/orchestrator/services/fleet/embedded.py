"""Embedded engines as nodes: in the fleet before their model is loaded, and out of it when an operator removes them."""

from __future__ import annotations

import asyncio

from orchestrator.domain.node import NodeReport
from orchestrator.ports.local_server import LocalServer
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.guests import Guests
from orchestrator.services.fleet.health import Health

LOOK = 1.0  # seconds between two looks whether the node is still wanted


class Embedded:
    """One of them. `joined` is set when it is in the fleet or never will be, `loaded` when it serves for the first
    time."""

    def __init__(self, server: LocalServer, fleet: Fleet, guests: Guests, health: Health) -> None:
        self.server = server
        self.joined = asyncio.Event()
        self.loaded = asyncio.Event()
        self._fleet = fleet
        self._guests = guests
        self._health = health
        self._taken = False

    @property
    def _removed(self) -> bool:
        return self._taken and self._fleet.get(self.server.node.id) is None

    async def run(self) -> None:
        """Until cancelled, or until the node is removed."""
        running = asyncio.create_task(self.server.run(self._starting, self._ready, self._ended))
        try:
            while not running.done() and not self._removed:
                await asyncio.wait({running}, timeout=LOOK)
            if running.done():
                running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            self.joined.set()

    def _starting(self) -> None:
        if not self._removed:
            self._guests.take(self.server.node)
            self._taken = True
            self.joined.set()

    def _ready(self) -> None:
        self.loaded.set()
        self._health.soon(self.server.node.id)

    def _ended(self, reason: str) -> None:
        """Nobody shall be sent there until it answers again."""
        node = self._fleet.get(self.server.node.id)
        if node is not None:
            self._fleet.report(node, NodeReport(False, 0.0, reason), False)
