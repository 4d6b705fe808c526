"""Keeps looking at every node, more often at those that are down, never so that a model is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from orchestrator.domain.node import NodeKind, NodeReport
from orchestrator.ports.probe import Probe
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.node import FleetNode


@dataclass(frozen=True, slots=True)
class HealthRules:
    """Times in seconds; thresholds count probes in a row."""

    enabled: bool = True
    interval: float = 10.0
    recovery_interval: float = 2.0  # between looks at a node that is down, doubled up to `interval`
    timeout: float = 5.0
    failure_threshold: int = 3
    success_threshold: int = 1
    concurrency: int = 10


class Health:
    """Probes nodes and tells the fleet."""

    def __init__(self, fleet: Fleet, probes: Mapping[NodeKind, Probe], rules: HealthRules) -> None:
        self.rules = rules
        self.on_change: list[Callable[[FleetNode], None]] = []
        self.on_return_look: list[Callable[[FleetNode, NodeReport], None]] = []  # a look at a node that was down
        self._fleet = fleet
        self._probes = probes
        self._due: dict[str, float] = {}  # node id -> monotonic seconds
        self._places = asyncio.Semaphore(rules.concurrency)
        self._running: set[str] = set()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def adopt(self, rules: HealthRules) -> None:
        if rules.concurrency != self.rules.concurrency:
            self._places = asyncio.Semaphore(rules.concurrency)
        self.rules = rules
        self._wake.set()

    def soon(self, node_id: str) -> None:
        """Probes this node at once."""
        self._due[node_id] = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                wait = self._launch() if self.rules.enabled else 3600.0
                self._wake.clear()
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _launch(self) -> float:
        """Starts the probes that are due; returns the seconds until the next is."""
        now = self._fleet.clock.tick()
        for gone in self._due.keys() - self._fleet.nodes.keys():
            del self._due[gone]
        nearest = self.rules.interval
        for node in self._fleet.nodes.values():
            due = self._due.get(node.id, 0.0)
            if node.id in self._running:
                continue
            if due <= now:
                self._start(self._probe(node))
            else:
                nearest = min(nearest, due - now)
        return max(nearest, 0.01)

    def _start(self, probing: Awaitable[NodeReport]) -> None:
        async def run() -> None:
            await probing

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _probe(self, node: FleetNode) -> NodeReport:
        self._running.add(node.id)
        try:
            async with self._places:
                return await self.check(node)
        finally:
            self._running.discard(node.id)
            self._wake.set()

    async def check(self, node: FleetNode) -> NodeReport:
        """One look at one node, now. The fleet hears of it."""
        rules = self.rules
        asked = self._fleet.clock.tick()
        report = await self._probes[node.spec.kind].look(node.spec, node.target, node.secret, rules.timeout)
        clock = self._fleet.clock
        self._due[node.id] = clock.tick() + self._pause(node, report)
        if self._fleet.get(node.id) is not node:
            return report
        node.probed_at = clock.epoch
        first = node.report is None and node.failures == 0
        node.failures = 0 if report.healthy else node.failures + 1
        node.successes = node.successes + 1 if report.healthy else 0
        healthy = node.healthy
        if report.healthy and (first or node.successes >= rules.success_threshold):
            healthy = True
        elif not report.healthy and node.failures >= rules.failure_threshold:
            healthy = False
        for look in self.on_return_look if not node.healthy and not first else ():
            look(node, report)
        if self._fleet.report(node, report, healthy, asked) or (first and not healthy):
            for listener in self.on_change:
                listener(node)
        return report

    def _pause(self, node: FleetNode, report: NodeReport) -> float:
        rules = self.rules
        if report.healthy:
            return rules.interval
        return min(rules.interval, rules.recovery_interval * 2.0 ** min(node.failures, 10))
