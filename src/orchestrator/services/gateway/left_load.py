"""A model's load that goes on although the client whose request began it has left.

A model server gives up a load when the connection that asked for it closes: a client with less patience than the load
takes, and that tries again, would never get an answer, and nobody else either. So the call is kept until the node's
first byte, which says that the model is in memory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.domain.errors import UpstreamError
from orchestrator.domain.node import NodeKind
from orchestrator.ports.upstream import Call, Receiver, ResponseHead
from orchestrator.services.fleet.fleet import Passes
from orchestrator.services.fleet.node import FleetNode, Pair

if TYPE_CHECKING:
    from orchestrator.services.gateway.exchange import Exchange
    from orchestrator.services.gateway.gateway import Gateway

KEEP_SECONDS = 120.0  # after the client has left


class LeftLoad(Receiver):
    """Receives the answer that nobody waits for any more. The slot stays taken: the node is at work."""

    def __init__(
        self, gateway: Gateway, node: FleetNode, pair: Pair, passes: Passes | None, call: Call, started: float
    ) -> None:
        self._gateway = gateway
        self._node = node
        self._pair = pair
        self._passes = passes
        self._call = call
        self._started = started
        self._over = False
        self._timer = asyncio.get_running_loop().call_later(KEEP_SECONDS, self.end)
        gateway.left_loads.add(self)
        call.hand_over(self)

    def on_head(self, head: ResponseHead) -> None:
        self.end(loaded=head.status < 300)

    def on_data(self, raw: bytes, body: bytes) -> None:
        """Nothing comes behind `on_head`, which ends the call."""

    def on_end(self) -> None:
        """See `on_data`."""

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        self.on_head(head)

    def on_error(self, error: UpstreamError) -> None:
        self.end()

    def broken(self, error: Exception) -> None:
        self.end()

    def end(self, *, loaded: bool = False) -> None:
        """Takes the request off the node, without a verdict on it."""
        if self._over:
            return
        self._over = True
        self._timer.cancel()
        self._call.cancel()
        gateway, state, model = self._gateway, self._node.state, self._pair.model
        gateway.left_loads.discard(self)
        now = gateway.clock.tick()
        if loaded and model in state.loading:
            state.loading.discard(model)
            state.learn_load(model, now - self._started)
        gateway.fleet.released(self._node, self._pair, self._passes)
        gateway.admitting.pump()


def leave_loading(exchange: Exchange) -> bool:
    """Keeps the call of a client that leaves, if its node is loading the model; the exchange has no node then."""
    node, pair, call = exchange.node, exchange.pair, exchange.call
    if node is None or pair is None or call is None or exchange.relay is not None:
        return False
    if node.spec.kind is not NodeKind.OLLAMA or not exchange.gateway.limits.keep_loading:
        return False
    if pair.model not in node.state.loading:
        return False
    LeftLoad(exchange.gateway, node, pair, exchange.passes, call, exchange.attempts[-1].started)
    exchange.call = exchange.node = None
    return True
