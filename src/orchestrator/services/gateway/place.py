"""Step 4: which node. The mechanism is `domain.placement`; here it meets the live fleet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.domain.access import may_use_model
from orchestrator.domain.catalogue import Resolved
from orchestrator.domain.errors import Forbidden, ModelNotFound, NoNode, NotFound, OrchestratorError
from orchestrator.domain.placement import PlacementRequest, PrefixAffinity
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.gateway.prefix import prompt_prefix

if TYPE_CHECKING:
    from orchestrator.services.gateway.exchange import Exchange
    from orchestrator.services.gateway.gateway import Gateway


class Placing:
    """Finds a node for an exchange."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._plain: dict[str, PlacementRequest] = {}  # by model: requests that have nothing of their own to say

    def resolve(self, exchange: Exchange) -> None:
        """Names the model as the catalogue does. Raises ModelNotFound, and Forbidden where the key has a list."""
        resolved = exchange.resolved = self._gateway.fleet.resolve(exchange.model)
        if exchange.principal.models and not may_use_model(exchange.principal, exchange.model, resolved.names):
            raise Forbidden(f"This key may not use the model '{exchange.model}'.")

    def request(self, exchange: Exchange) -> PlacementRequest:
        """What the policy in force needs to know."""
        gateway = self._gateway
        resolved = exchange.resolved
        assert resolved is not None
        policy = exchange.policy or gateway.placement.policy
        if policy != PrefixAffinity.name and not exchange.session and not len(gateway.queue):
            plain = self._plain.get(resolved.name)
            if plain is None or plain.may_wait is not gateway.limits.queue_enabled:
                plain = PlacementRequest(resolved.name, may_wait=gateway.limits.queue_enabled)
                self._plain[resolved.name] = plain
            return plain
        return PlacementRequest(
            resolved.name,
            prompt_prefix(exchange) if policy == PrefixAffinity.name else (),
            exchange.session,
            exchange.priority,
            waiting=gateway.queue.waiting(resolved.name) if len(gateway.queue) else 0,
            waited_s=exchange.queue_wait,
            may_wait=gateway.limits.queue_enabled,
        )

    def choose(self, exchange: Exchange, exclude: tuple[str, ...] = ()) -> FleetNode | None:
        """A node with room, or None when all that may take it are full. Raises NoNode when none may take it."""
        if exchange.node_id:
            return self._pinned(exchange)
        gateway = self._gateway
        fleet, placement = gateway.fleet, gateway.placement
        resolved = exchange.resolved
        assert resolved is not None
        policy = exchange.policy
        request = self.request(exchange)
        now = gateway.clock.now
        blocked: OrchestratorError | None = None
        for name in (*resolved.names, *self._fallbacks(resolved)):
            candidates = fleet.candidates(name, exchange.endpoint)
            if not candidates.nodes:
                blocked = blocked or fleet.refusal(name, exchange.endpoint)
                continue
            tried = exclude
            while True:
                state = placement.choose(candidates, request, now, policy, tried)
                if state is None:
                    break
                node = fleet.node_at(state.index)
                passes = fleet.admits(node, name)
                if passes is not None:
                    exchange.pair, exchange.passes = fleet.pair(node, name), passes
                    return node
                tried = (*tried, node.id)  # half-open, and its trial is under way
            blocked = None
        if blocked is not None:
            raise blocked
        return None

    def _fallbacks(self, resolved: Resolved) -> Iterator[str]:
        """Other models that the operator named for this one, as the catalogue calls them."""
        gateway = self._gateway
        for name in gateway.limits.fallbacks.get(resolved.name, ()):
            try:
                yield from gateway.fleet.resolve(name).names
            except ModelNotFound:
                continue

    def _pinned(self, exchange: Exchange) -> FleetNode | None:
        """The node that a direct route names. Raises NotFound and NoNode."""
        fleet = self._gateway.fleet
        node = fleet.get(exchange.node_id)
        if node is None:
            raise NotFound(f"Server '{exchange.node_id}' not found")
        name = fleet.catalogue.name_at(exchange.model, node.id)
        if name is None:
            raise NotFound(f"Model '{exchange.model}' not available on server '{node.id}'")
        if exchange.principal.models and not may_use_model(exchange.principal, exchange.model, (name,)):
            raise Forbidden(f"This key may not use the model '{exchange.model}'.")
        exchange.pair, exchange.passes = fleet.pair(node, name), None
        if exchange.bypass:
            return node
        reason = fleet.rejection(node, name, exchange.endpoint)
        if reason is not None:
            raise NoNode(f"Server '{node.id}' cannot take it: {reason}", details={"model": name})
        if node.state.in_flight >= node.spec.max_concurrency:
            return None
        exchange.passes = fleet.admits(node, name)
        return node if exchange.passes is not None else None

    def undo(self, exchange: Exchange, node: FleetNode) -> None:
        """The chosen node is not used after all."""
        if exchange.pair is not None:
            self._gateway.fleet.release(node, exchange.pair, exchange.passes)
