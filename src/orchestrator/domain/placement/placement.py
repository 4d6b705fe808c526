"""Placement: which node takes a piece of work, and why not the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.placement.latency import FastestResponse, LatencyOptimized
from orchestrator.domain.placement.learned import Learned
from orchestrator.domain.placement.load import LeastConnections, PowerOfTwo, ResourceAware
from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.options import PolicyOptions
from orchestrator.domain.placement.policy import Policy, Rand, excluded_mask
from orchestrator.domain.placement.prefix import PrefixAffinity
from orchestrator.domain.placement.rejection import Rejection
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest
from orchestrator.domain.placement.rotation import RoundRobin, WeightedRandom, WeightedRoundRobin
from orchestrator.domain.placement.warm import WarmFirst
from orchestrator.domain.placement.weighted import Weighted

DEFAULT_POLICY = WarmFirst.name
POLICIES: Mapping[str, type[Policy]] = {
    policy.name: policy
    for policy in (
        WarmFirst,
        RoundRobin,
        WeightedRoundRobin,
        WeightedRandom,
        LeastConnections,
        PowerOfTwo,
        ResourceAware,
        FastestResponse,
        LatencyOptimized,
        PrefixAffinity,
        Learned,
        Weighted,
    )
}
ALIASES = {"streaming_optimized": LatencyOptimized.name}


def policy_name(name: str) -> str:
    """The name under which a policy is known. Hyphens, capitals and the contract's names are understood.

    Raises InvalidRequest, with a suggestion, for any other.
    """
    plain = name.strip().lower().replace("-", "_")
    plain = ALIASES.get(plain, plain)
    if plain in POLICIES:
        return plain
    near = get_close_matches(plain, POLICIES, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise InvalidRequest(f"unknown placement policy '{name}'{hint}", details={"policies": sorted(POLICIES)})


@dataclass(frozen=True, slots=True)
class Considered:
    """One candidate in the eyes of a policy. `reason` None: it may be picked. Lower `cost` is better."""

    node: str
    cost: float
    parts: Mapping[str, float] = field(default_factory=dict)
    reason: Rejection | None = None


class Placement:
    """The policies with their live state. One per fleet; not shared between threads."""

    def __init__(self, policy: str = DEFAULT_POLICY, options: PolicyOptions | None = None, *, rand: Rand) -> None:
        """`rand` gives uniform floats in [0, 1). Raises InvalidRequest for an unknown policy."""
        self._rand = rand
        self._options = options or PolicyOptions()
        self._made: dict[str, Policy] = {}
        self._policy = self._get(policy)

    @property
    def policy(self) -> str:
        """Name of the policy in force."""
        return self._policy.name

    @property
    def options(self) -> PolicyOptions:
        return self._options

    def use(self, policy: str) -> None:
        """Switch the policy for all requests that name none. Raises InvalidRequest for an unknown one."""
        self._policy = self._get(policy)

    def configure(self, options: PolicyOptions) -> None:
        """Put other options in force. Policies start with fresh state; what nodes know of themselves stays."""
        name = self._policy.name
        self._options = options
        self._made = {}
        self._policy = self._get(name)

    def forget(self, node: str) -> None:
        """A node left, or lost its memory in a restart: what policies remember of it goes. Takes milliseconds."""
        for policy in self._made.values():
            policy.forget(node)

    def choose(
        self,
        candidates: CandidateSet,
        request: PlacementRequest,
        now: float,
        policy: str | None = None,
        exclude: Collection[str] = (),
    ) -> NodeState | None:
        """The node to use at `now` (monotonic seconds), without the ids in `exclude`. The caller begins it at once.

        None: no candidate has room, or (`warm_first`) waiting for one is better than what is free. Ask again when a
        request finishes, and in any case after a while: `waited_s` and ended rests change the answer.
        """
        roster = candidates.roster
        roster.settle(now)
        usable = candidates.mask
        if exclude:
            usable &= ~excluded_mask(candidates, exclude)
        resting = roster.unavailable(candidates.model)
        if resting:
            # With nobody else left a failing node is still better than none.
            usable = usable & ~resting or usable
        pool = usable & roster.room
        if not pool:
            return None
        chosen = self._policy if policy is None else self._get(policy)
        return chosen.pick(candidates, pool, usable, request, now)

    def explain(
        self,
        candidates: CandidateSet,
        request: PlacementRequest,
        now: float,
        policy: str | None = None,
        exclude: Collection[str] = (),
    ) -> list[Considered]:
        """Every candidate with its cost and what it is made of, those that may be picked first, best first. Changes
        nothing, and takes microseconds per candidate: for people, not for the path of every request."""
        chosen = self._policy if policy is None else self._get(policy)
        roster = candidates.roster
        roster.settle(now)
        resting = roster.unavailable(candidates.model)
        left = candidates.mask & ~excluded_mask(candidates, exclude)
        if not left & ~resting:
            resting = 0
        found = []
        for node in candidates.nodes:
            reason = None
            if node.id in exclude:
                reason = Rejection.EXCLUDED
            elif resting & node.bit:
                reason = Rejection.FAILING
            elif not roster.room & node.bit:
                reason = Rejection.NO_ROOM
            rating = chosen.rate(candidates, node, request, now)
            found.append(Considered(node.id, rating.cost, rating.parts, reason))
        return sorted(found, key=lambda item: (item.reason is not None, item.cost))

    def _get(self, name: str) -> Policy:
        policy = self._made.get(name)
        if policy is None:
            plain = policy_name(name)
            policy = self._made.get(plain)
            if policy is None:
                policy = self._made[plain] = POLICIES[plain](self._options, self._rand)
        return policy
