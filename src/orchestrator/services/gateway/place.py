"""Step 4: which node. The mechanism is `domain.placement`; here it meets the live fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING

from orchestrator.domain.access import Permission, allowed, may_use_model
from orchestrator.domain.catalogue import Resolved
from orchestrator.domain.dialects import Endpoint
from orchestrator.domain.errors import Forbidden, ModelNotFound, NoNode, NotFound, OrchestratorError
from orchestrator.domain.placement import CandidateSet, PlacementRequest, PrefixAffinity
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.gateway.prefix import prompt_prefix

if TYPE_CHECKING:
    from orchestrator.services.gateway.exchange import Exchange
    from orchestrator.services.gateway.gateway import Gateway


# The exchange, the node chosen, who could have been, who was tried before, and now.
Listener = Callable[["Exchange", FleetNode, CandidateSet, tuple[str, ...], float], float]


def _nobody(*_: object) -> float:
    return inf


class Placing:
    """Finds a node for an exchange."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._plain: dict[str, PlacementRequest] = {}  # by model: requests that have nothing of their own to say
        self._listener: Listener = _nobody
        self._listen_at = inf

    def listen(self, listener: Listener, at: float) -> None:
        """Tells `listener` of the first choice at `at` (monotonic seconds) or later; it returns when to hear of the
        next. The node has not begun with the request yet. It must not raise. There is one listener."""
        self._listener, self._listen_at = listener, at

    def resolve(self, exchange: Exchange) -> None:
        """Names the model as the catalogue does. Raises ModelNotFound, and Forbidden where the key has a list."""
        exchange.resolved = resolved = self._gateway.fleet.route(exchange.model, exchange.endpoint).resolved
        if exchange.principal.models and not may_use_model(exchange.principal, exchange.model, resolved.names):
            raise Forbidden(f"This key may not use the model '{exchange.model}'.")

    def check_direct(self, exchange: Exchange) -> None:
        """Whether the key may name a node, and pass by what guards it. Raises Forbidden."""
        if not allowed(exchange.principal, Permission.POLICY_OVERRIDE):
            raise Forbidden("This key may not choose the node.")
        if exchange.bypass and not allowed(exchange.principal, Permission.BYPASS_USE):
            raise Forbidden("This key may not bypass health, bans and breakers.")

    def request(self, exchange: Exchange) -> PlacementRequest:
        """What the policy in force needs to know."""
        gateway = self._gateway
        resolved = exchange.resolved
        assert resolved is not None
        prefixed = (exchange.policy or gateway.placement.policy) == PrefixAffinity.name
        if not prefixed and not exchange.session and not gateway.queue.entries:
            plain = self._plain.get(resolved.name)
            if plain is None or plain.may_wait is not gateway.limits.queue_enabled:
                plain = PlacementRequest(resolved.name, may_wait=gateway.limits.queue_enabled)
                self._plain[resolved.name] = plain
            return plain
        return PlacementRequest(
            resolved.name,
            prompt_prefix(exchange) if prefixed else (),
            exchange.session,
            exchange.priority,
            waiting=gateway.queue.waiting(resolved.name) if gateway.queue.entries else 0,
            waited_s=exchange.queue_wait,
            may_wait=gateway.limits.queue_enabled,
        )

    def choose(self, exchange: Exchange, exclude: tuple[str, ...] = ()) -> FleetNode | None:
        """A node with room, or None when all that may take it are full. Raises NoNode when none may take it."""
        if exchange.node_id:
            return self._pinned(exchange)
        gateway = self._gateway
        fleet, placement = gateway.fleet, gateway.placement
        request = self.request(exchange)
        now = gateway.clock.now
        blocked: OrchestratorError | None = None
        for name, candidates in self._options(exchange):
            if not candidates.mask:
                blocked = blocked or fleet.refusal(name, exchange.endpoint)
                continue
            blocked = None
            tried = exclude
            while (state := placement.choose(candidates, request, now, exchange.policy, tried)) is not None:
                node = fleet.node_at(state.index)
                pair = fleet.pair(node, name)
                passes = fleet.admits(node, pair)
                if passes is not None:
                    exchange.pair, exchange.passes = pair, passes
                    if now >= self._listen_at:
                        self._listen_at = self._listener(exchange, node, candidates, exclude, now)
                    return node
                tried = (*tried, node.id)  # half-open, and its trial is under way
        if blocked is not None:
            raise blocked
        return None

    def _options(self, exchange: Exchange) -> Iterable[tuple[str, CandidateSet]]:
        """The models that may answer, best first: what the name stands for, then the operator's fallbacks."""
        gateway = self._gateway
        route = gateway.fleet.route(exchange.model, exchange.endpoint)
        if not gateway.limits.fallbacks:
            return route.options
        return (*route.options, *self._fallbacks(route.resolved, exchange.endpoint))

    def _fallbacks(self, resolved: Resolved, endpoint: Endpoint) -> Iterator[tuple[str, CandidateSet]]:
        """Other models that the operator named for this one."""
        gateway = self._gateway
        for name in gateway.limits.fallbacks.get(resolved.name, ()):
            try:
                yield from gateway.fleet.route(name, endpoint).options
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
            node.block(name)
            raise NoNode(f"Server '{node.id}' cannot take it: {reason}", details={"model": name})
        if node.state.in_flight >= node.state.max_concurrency:
            return None
        exchange.passes = fleet.admits(node, exchange.pair)
        return node if exchange.passes is not None else None

    def undo(self, exchange: Exchange, node: FleetNode) -> None:
        """The chosen node is not used after all."""
        if exchange.pair is not None:
            self._gateway.fleet.release(node, exchange.pair, exchange.passes)
