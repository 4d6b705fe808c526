"""Makes limits hold for all replicas together, as far as they hear of each other: the rates of keys, and the
slots of nodes.

What a replica knows of the others is some tenths of a second old. So a limit may be passed by what comes in meanwhile,
and a node that is full of one replica's requests still takes a fair share of another's, or that one would starve.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from orchestrator.domain.node import NodeSpec
from orchestrator.ports.shared_counters import CounterExchange, SharedCounters
from orchestrator.services.gateway.gateway import Gateway

SILENCE = 2.0  # seconds after which a replica that says nothing has nothing under way
REPEAT = 0.5  # seconds after which what has not changed is said again


class Sharing:
    """One per process, beside the gateway."""

    def __init__(self, gateway: Gateway, exchange: CounterExchange, named: Callable[[NodeSpec], str]) -> None:
        """`named` says what all replicas call a node; one that only this process can reach has a name of its own."""
        self._gateway = gateway
        self._named = named
        self._exchange = exchange
        self._others: dict[str, tuple[float, SharedCounters]] = {}  # by replica: when it was heard, and what it said
        self._said = SharedCounters({}, {})
        self._said_at = 0.0
        gateway.limiter.tell_spent()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as ways:
            ways.create_task(self._exchange.run(self.said, self.heard))
            ways.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(REPEAT)
            self._forget(self._gateway.clock.tick())

    def said(self) -> SharedCounters | None:
        """What to tell the others now; None while nothing has changed, or nothing is under way."""
        gateway = self._gateway
        now = gateway.clock.tick()
        nodes = gateway.fleet.nodes.values()
        counters = SharedCounters(
            gateway.limiter.take_spent(),
            {self._named(node.spec): node.state.in_flight for node in nodes if node.state.in_flight},
        )
        same = not counters.spent and counters.in_flight == self._said.in_flight
        if same and (not counters.in_flight or now - self._said_at < REPEAT):
            return None
        self._said, self._said_at = counters, now
        return counters

    def heard(self, owner: str, counters: SharedCounters) -> None:
        """What another replica tells."""
        now = self._gateway.clock.tick()
        for caller, seconds in counters.spent.items():
            self._gateway.limiter.spend(caller, seconds, now)
        self._others[owner] = (now, counters)
        self._apply()

    def _forget(self, now: float) -> None:
        silent = [owner for owner, (at, _) in self._others.items() if now - at > SILENCE]
        for owner in silent:
            del self._others[owner]
        if silent:
            self._apply()

    def _apply(self) -> None:
        in_flight: Counter[str] = Counter()
        users: Counter[str] = Counter()  # replicas, by node that they use
        for _, counters in self._others.values():
            in_flight.update(counters.in_flight)
            users.update(node for node, count in counters.in_flight.items() if count)
        for node in self._gateway.fleet.nodes.values():
            name = self._named(node.spec)
            node.share(in_flight[name], users[name])
