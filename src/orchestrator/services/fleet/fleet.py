"""The live fleet: which nodes there are, which may serve a model now, and what traffic has taught about them.

All of it is in memory and synchronous; `registry` writes through to the database what must outlive the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf

from orchestrator.domain.alias import Alias
from orchestrator.domain.ban import Ban
from orchestrator.domain.breaker import Breaker
from orchestrator.domain.breaker_policy import BreakerPolicy, BreakerState, Transition
from orchestrator.domain.breaker_record import BreakerRecord
from orchestrator.domain.catalogue import Catalogue, Resolved
from orchestrator.domain.dialects import Endpoint
from orchestrator.domain.errors import ModelNotFound, OrchestratorError
from orchestrator.domain.failure import Failure, FailureKind
from orchestrator.domain.node import NodeReport, NodeSpec
from orchestrator.domain.placement import (
    CandidateSet,
    Considered,
    Outcome,
    Rejection,
    Residency,
    Roster,
    eligibility,
    no_candidate,
)
from orchestrator.services.clock import Clock
from orchestrator.services.fleet.node import FleetNode, Pair
from orchestrator.services.fleet.route import Route, capable

# What the breakers of a node and of its model gave for one request.
Passes = tuple[int, int]
# Faults that say something about the whole node, and not just about one of its models.
OF_THE_NODE = frozenset({FailureKind.CONNECT, FailureKind.AUTH})
BLOCKED = Rejection.BREAKER_OPEN


class Fleet:
    """The nodes of one process."""

    def __init__(
        self,
        clock: Clock,
        roster: Roster,
        policy: BreakerPolicy,
        rand: Callable[[], float],
        secret_of: Callable[[NodeSpec], str | None],
    ) -> None:
        """`secret_of` resolves a node's `api_key` reference."""
        self.clock = clock
        self.roster = roster
        self.nodes: dict[str, FleetNode] = {}
        self.bans: dict[tuple[str, str], Ban] = {}
        self.aliases: dict[str, Alias] = {}
        self.catalogue = Catalogue.build({}, ())
        self.policy = policy
        self.tripped: dict[tuple[str, str], Breaker] = {}  # those that are not closed
        self.dirty: set[tuple[str, str]] = set()  # breakers that changed since they were last saved
        self.on_breaker: list[Callable[[Breaker, Transition], None]] = []
        self.on_lost: list[Callable[[str], None]] = []  # a node left, or came back with nothing in memory
        self.rand = rand
        self._secret_of = secret_of
        self._by_index: dict[int, FleetNode] = {}
        self._resolved: dict[str, Resolved] = {}
        self._candidates: dict[tuple[str, str], CandidateSet] = {}
        self._routes: dict[str, dict[str, Route]] = {}

    # Who is there

    def add(self, spec: NodeSpec) -> FleetNode:
        """Takes a node in, or changes one that is there; its numbers stay."""
        node = self.nodes.get(spec.id)
        if node is None:
            state = self.roster.join(spec.id, spec.max_concurrency, spec.weight)
            node = FleetNode(spec, state, self._breaker(spec.id), self._secret_of(spec))
            self.nodes[spec.id] = node
            self._by_index[state.index] = node
        else:
            node.respec(spec, self._secret_of(spec))
        self.rebuild()
        return node

    def remove(self, node_id: str) -> FleetNode | None:
        """Forgets a node. Requests that it serves now may finish."""
        node = self.nodes.pop(node_id, None)
        if node is not None:
            self.roster.leave(node.state)
            del self._by_index[node.state.index]
            for key in [key for key in self.tripped if key[0] == node_id]:
                del self.tripped[key]
            self.dirty = {key for key in self.dirty if key[0] != node_id}
            self.rebuild()
            for listener in self.on_lost:
                listener(node_id)
        return node

    def get(self, node_id: str) -> FleetNode | None:
        return self.nodes.get(node_id)

    def node_at(self, index: int) -> FleetNode:
        return self._by_index[index]

    def report(self, node: FleetNode, report: NodeReport, healthy: bool, asked: float = inf) -> bool:
        """Takes over what a probe saw that `asked` at that moment (monotonic seconds); True when a client could notice
        the difference."""
        before = (node.healthy, node.dialects, _names(node.report))
        came_back = healthy and not node.healthy
        node.healthy = healthy
        node.error = report.error
        if report.healthy:
            node.report = report
            node.dialects = report.dialects or node.dialects
        if came_back:
            node.state.forgive()
            for listener in self.on_lost if not report.loaded else ():
                listener(node.id)
        changed = before != (node.healthy, node.dialects, _names(node.report))
        if changed:
            self.rebuild()
        if report.healthy and report.loaded is not None:
            node.state.set_loaded(
                {self._catalogue_name(one.name): Residency(float(one.size_vram)) for one in report.loaded}, asked
            )
        return changed

    def _catalogue_name(self, name: str) -> str:
        try:
            return self.resolve(name).name
        except ModelNotFound:
            return name

    def set_aliases(self, aliases: Iterable[Alias]) -> None:
        self.aliases = {alias.name: alias for alias in aliases}
        self.rebuild()

    def set_bans(self, bans: Iterable[Ban]) -> None:
        self.bans = {(ban.node, ban.model): ban for ban in bans}
        self.invalidate()

    def rebuild(self) -> None:
        """The catalogue changed: nodes, their models, their health or the aliases."""
        self.catalogue = Catalogue.build(
            {node.id: node.entries() for node in self.nodes.values() if node.report is not None or node.spec.models},
            tuple(self.aliases.values()),
        )
        self._resolved.clear()
        for node in self.nodes.values():
            for pair in node.pairs.values():
                pair.name = ""
        self.invalidate()

    def invalidate(self) -> None:
        """A node's eligibility changed."""
        self._candidates.clear()
        self._routes.clear()

    # Who may serve

    def resolve(self, model: str) -> Resolved:
        """Raises ModelNotFound with the nearest names."""
        resolved = self._resolved.get(model)
        if resolved is None:
            resolved = self.catalogue.resolve(model)
            if len(self._resolved) > 10_000:
                self._resolved.clear()
            self._resolved[model] = resolved
        return resolved

    def route(self, model: str, endpoint: Endpoint) -> Route:
        """What a client's name stands for on an endpoint, until a node's eligibility changes. Raises ModelNotFound."""
        routes = self._routes.get(endpoint.name)
        if routes is None or len(routes) > 10_000:
            routes = self._routes[endpoint.name] = {}
        route = routes.get(model)
        if route is None:
            resolved = self.resolve(model)
            options = tuple((name, self.candidates(name, endpoint)) for name in resolved.names)
            route = routes[model] = Route(resolved, options)
        return route

    def candidates(self, model: str, endpoint: Endpoint) -> CandidateSet:
        """The nodes that may serve this model on this endpoint, whether they have room now or not."""
        key = (model, endpoint.name)
        found = self._candidates.get(key)
        if found is None:
            nodes = [node.state for node in self.nodes.values() if self.rejection(node, model, endpoint) is None]
            found = self._candidates[key] = CandidateSet(nodes, model, self.catalogue.size_of(model))
        return found

    def rejection(self, node: FleetNode, model: str, endpoint: Endpoint | None = None) -> Rejection | None:
        """Why a node may not serve a model, None when it may. Room is not asked for."""
        now = self.clock.epoch
        pair = node.pairs.get(model)
        entry = self.catalogue.entry(model, node.id)
        return eligibility(
            healthy=node.healthy,
            admin_state=node.spec.admin_state,
            has_model=entry is not None,
            has_capability=entry is None or endpoint is None or capable(node, entry.capabilities, endpoint),
            banned=any(ban.covers(node.id, model, now) for ban in self.bans.values()),
            breaker_open=node.breaker.state is BreakerState.OPEN
            or (pair is not None and pair.breaker.state is BreakerState.OPEN),
        )

    def refusal(self, model: str, endpoint: Endpoint) -> OrchestratorError:
        """The error for a model that no node may serve now, with the time after which that may change."""
        reasons = [self.rejection(node, model, endpoint) or Rejection.NO_ROOM for node in self.nodes.values()]
        error = no_candidate(model, reasons)
        if BLOCKED in reasons:
            error.retry_after = self.reopens_in(model)
            for node in [node for node, why in zip(self.nodes.values(), reasons, strict=True) if why is BLOCKED]:
                node.block(model)
        return error

    def reopens_in(self, model: str) -> float:
        """Seconds until the first breaker in the model's way lets a trial through."""
        now = self.clock.epoch
        waits: list[float] = []
        for node in self.nodes.values():
            if self.catalogue.entry(model, node.id) is not None:
                pair = node.pairs.get(model)
                left = [one.time_left(now) for one in (node.breaker, pair.breaker if pair else None) if one]
                waits += [max(seconds for seconds in left if seconds is not None)] if None not in left else []
        return max(1.0, min(waits, default=60.0))

    def rejected(self, model: str, endpoint: Endpoint) -> list[Considered]:
        """The nodes that were out of the question, with the reason."""
        return [
            Considered(node.id, inf, {}, reason)
            for node in self.nodes.values()
            if (reason := self.rejection(node, model, endpoint)) is not None
        ]

    def has_room(self, model: str) -> bool:
        """Whether some node may have room for the model now. Where eligibility has just changed and nobody has asked
        since, the answer is yes: placing will tell."""
        room, resting = self.roster.room, self.roster.unavailable(model)
        known = [found.mask for (name, _), found in self._candidates.items() if name == model]
        return not known or any((mask & ~resting or mask) & room for mask in known)

    def node_has_room(self, node_id: str) -> bool:
        node = self.nodes.get(node_id)
        return node is None or node.state.in_flight < node.state.max_concurrency

    def name_on(self, node: FleetNode, model: str) -> str | None:
        """What the node calls a model; None when it does not have it."""
        entry = self.catalogue.entry(model, node.id)
        return entry.name if entry is not None else None

    def name_of(self, pair: Pair, node: FleetNode) -> str:
        """What the node calls the model of one of its pairs."""
        if not pair.name:
            pair.name = self.name_on(node, pair.model) or pair.model
        return pair.name

    def pair(self, node: FleetNode, model: str) -> Pair:
        pair = node.pairs.get(model)
        if pair is None:
            pair = node.pairs[model] = Pair(model, self._breaker(node.id, model))
        return pair

    # What traffic teaches

    def admits(self, node: FleetNode, pair: Pair) -> Passes | None:
        """Asks both breakers; in half-open this takes one of the few trials. None: not now."""
        of_node, of_pair = node.breaker, pair.breaker
        if of_node.state is BreakerState.CLOSED and of_pair.state is BreakerState.CLOSED:
            return of_node.generation, of_pair.generation
        return self._ask(of_node, of_pair)

    def _ask(self, node: Breaker, pair: Breaker) -> Passes | None:
        now = self.clock.epoch
        of_node = node.allow(now)
        if not of_node:
            return None
        of_pair = pair.allow(now)
        if of_pair:
            return of_node, of_pair
        node.release(now, of_node)
        return None

    def succeeded(
        self,
        node: FleetNode,
        pair: Pair,
        passes: Passes | None,
        *,
        duration: float,
        ttft: float,
        tokens: int,
        late: Failure | None = None,
    ) -> None:
        """`passes` None: the breakers were bypassed and hear nothing. `late`: answered, but with a slow first token."""
        node.state.finish(pair.model, Outcome(True, duration, ttft, tokens), self.clock.now)
        if passes is None:
            return
        if late is not None:
            self.blame(node, pair, passes, late)
            return
        now = self.clock.epoch
        node.breaker.success(now, passes[0])
        pair.breaker.success(now, passes[1])

    def failed(
        self, node: FleetNode, pair: Pair, passes: Passes | None, failure: Failure, *, duration: float, status: int
    ) -> None:
        node.state.finish(pair.model, Outcome(False, duration, status=status), self.clock.now)
        if passes is not None:
            self.blame(node, pair, passes, failure)

    def blame(self, node: FleetNode, pair: Pair, passes: Passes, failure: Failure) -> None:
        """Tells the breakers of a fault. Only what concerns every model of a node counts against the node."""
        now = self.clock.epoch
        if failure.kind in OF_THE_NODE:
            node.breaker.failure(now, failure, passes[0], self.rand())
        else:
            node.breaker.release(now, passes[0])
        pair.breaker.failure(now, failure, passes[1], self.rand())

    def released(self, node: FleetNode, pair: Pair, passes: Passes | None) -> None:
        """A request ended without a verdict on the node: the client left, or was wrong."""
        node.state.finish(pair.model, Outcome(None, 0.0), self.clock.now)
        self.release(node, pair, passes)

    def release(self, node: FleetNode, pair: Pair, passes: Passes | None) -> None:
        """Gives back what `admits` took; nothing was sent."""
        if passes is not None:
            now = self.clock.epoch
            node.breaker.release(now, passes[0])
            pair.breaker.release(now, passes[1])

    def _breaker(self, node_id: str, model: str = "") -> Breaker:
        return Breaker(node_id, model, self.policy, self._changed)

    def _changed(self, breaker: Breaker, transition: Transition) -> None:
        """A breaker is in another state than before, by traffic, time or an operator."""
        key = (breaker.node, breaker.model)
        self.dirty.add(key)
        if breaker.state is BreakerState.CLOSED:
            self.tripped.pop(key, None)
        else:
            self.tripped[key] = breaker
        self.invalidate()
        for listener in self.on_breaker:
            listener(breaker, transition)

    def restore(self, records: Iterable[BreakerRecord]) -> None:
        """Takes over the breakers of the last process; those of nodes that are gone are left out."""
        for record in records:
            node = self.nodes.get(record.node)
            if node is None:
                continue
            breaker = self.pair(node, record.model).breaker if record.model else node.breaker
            breaker.restore(record)
            if breaker.state is not BreakerState.CLOSED:
                self.tripped[record.node, record.model] = breaker
        self.invalidate()

    def adopt(self, policy: BreakerPolicy) -> None:
        """New rules for all breakers."""
        self.policy = policy
        for breaker in self.breakers().values():
            breaker.adopt(policy)

    def beat(self) -> None:
        """Lets time pass: open breakers come to their trial, bans run out."""
        now = self.clock.epoch
        for breaker in list(self.tripped.values()):
            breaker.tick(now)
        over = [key for key, ban in self.bans.items() if ban.until is not None and now >= ban.until]
        for key in over:
            del self.bans[key]
        if over:
            self.invalidate()

    def breakers(self) -> Mapping[tuple[str, str], Breaker]:
        """Every breaker there is, by node and model ("" for the node's own)."""
        found: dict[tuple[str, str], Breaker] = {}
        for node in self.nodes.values():
            found[node.id, ""] = node.breaker
            for model, pair in node.pairs.items():
                found[node.id, model] = pair.breaker
        return found

    def breaker(self, node_id: str, model: str) -> Breaker | None:
        node = self.nodes.get(node_id)
        if node is None:
            return None
        if not model:
            return node.breaker
        pair = node.pairs.get(model)
        return pair.breaker if pair is not None else None


def _names(report: NodeReport | None) -> object:
    if report is None:
        return None
    return tuple((entry.name, entry.digest, entry.capabilities) for entry in report.models)
