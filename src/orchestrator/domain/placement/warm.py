"""The default policy: requests go where the model already is."""

from __future__ import annotations

from orchestrator.domain.placement.bits import draw
from orchestrator.domain.placement.load import MEMORY_MARGIN, vram_pressure
from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.policy import Policy, Rating
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest

IDLE_SHARE = 0.25  # an empty node counts as a quarter full, so that among idle nodes the faster one wins
FAILURE_WEIGHT = 10.0
EXPIRED_WEIGHT = 4.0  # its keep-alive is over: it has probably unloaded the model since the last probe
COLD_TRIES = 3
RECENT_S = 60.0  # a model that was last used so long ago is half as likely to be missed
UNTRIED, EVICTS, BUSY = 0.25, 1.0, 2.0  # harm of a load: may fit; puts out an idle model; has to wait for one
GIGABYTE = 1e9
LOAD_SECONDS = ((2, 3.0), (5, 5.0), (10, 10.0), (20, 20.0), (50, 40.0))  # GB below -> s; contract, loadTimeEstimates
LOAD_SECONDS_LARGEST = 80.0
LOAD_SECONDS_UNKNOWN = 10.0


def estimated_load_s(size: float) -> float:
    """Seconds to load a model of so many bytes; 10 when the size is unknown (0)."""
    if not size:
        return LOAD_SECONDS_UNKNOWN
    gigabytes = size / GIGABYTE
    return next((seconds for limit, seconds in LOAD_SECONDS if gigabytes < limit), LOAD_SECONDS_LARGEST)


class WarmFirst(Policy):
    """Of two random nodes that hold the model, the less busy and faster one. While all of those are full, a cold
    node is used only if the wait for a warm one exceeds the time of a load, and longer where the load would put out a
    model that was used lately; then, and when no node is warm, one with free memory or long idle models is preferred,
    so that models in use are not evicted in turn (thrashing)."""

    name = "warm_first"

    def pick(
        self, candidates: CandidateSet, pool: int, usable: int, request: PlacementRequest, now: float
    ) -> NodeState | None:
        holders = candidates.roster.holders(candidates.model)
        warm = pool & holders
        if warm:
            return self._warm(candidates, warm, now)
        full = usable & holders
        if full and request.may_wait and self.options.warm_first.wait:
            holder = self.draw(candidates, full)
            load = self._load_cost(candidates, holder)
            wait = max(request.waited_s, self._wait(candidates, holder, full, request))
            if wait < load:
                return None
            node = self._cold(candidates, pool, now)
            return None if wait < load * (1.0 + self._harm(candidates, node, now)) else node
        return self._cold(candidates, pool, now)

    def rate(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> Rating:
        parts = {"load": node.in_flight / node.capacity}
        if candidates.roster.holders(candidates.model) & node.bit:
            record = node.records.get(candidates.model)
            if record is not None:
                parts["failure_rate"] = record.failure_rate(now)
                parts["tokens_per_s"] = record.tps
            cost = self._warm_cost(candidates, node, now)
            parts["warm"] = 1.0
            return Rating(cost, parts)
        parts["warm"] = 0.0
        parts["load_cost_s"] = self._load_cost(candidates, node)
        parts["vram_pressure"] = vram_pressure(node, candidates.model, candidates.size)
        parts["eviction_harm"] = self._harm(candidates, node, now)
        # Any warm node comes before any cold one.
        return Rating(1000.0 + self._cold_cost(candidates, node, now), parts)

    def _warm(self, candidates: CandidateSet, warm: int, now: float) -> NodeState:
        nodes, positions, rand = candidates.nodes, candidates.positions, self.rand
        first = nodes[positions[draw(warm, rand)]]
        rest = warm & ~first.bit
        if not rest:
            return first
        second = nodes[positions[draw(rest, rand)]]
        a = self._warm_cost(candidates, first, now)
        b = self._warm_cost(candidates, second, now)
        if a == b:
            return first
        speed_a, speed_b = self._speed(candidates, first), self._speed(candidates, second)
        # Speeds count only where both are known: an unmeasured node is neither slow nor fast.
        if speed_a and speed_b:
            a, b = a / speed_a, b / speed_b
        return first if a <= b else second

    def _speed(self, candidates: CandidateSet, node: NodeState) -> float:
        record = node.records.get(candidates.model)
        return record.tps if record is not None else 0.0

    def _warm_cost(self, candidates: CandidateSet, node: NodeState, now: float) -> float:
        model = candidates.model
        cost = node.in_flight / node.capacity + IDLE_SHARE
        if node.weight != 1.0:
            cost /= max(node.weight, 1e-6)
        record = node.records.get(model)
        if record is not None and record.failure:
            cost *= 1.0 + FAILURE_WEIGHT * record.failure_rate(now)
        if node.loaded is not None and model not in node.in_flight_by_model:
            residency = node.loaded.get(model)
            if residency is not None and residency.expires is not None and residency.expires <= now:
                cost *= EXPIRED_WEIGHT
        return cost

    def _cold(self, candidates: CandidateSet, pool: int, now: float) -> NodeState:
        return self.better(candidates, pool, lambda node: self._cold_cost(candidates, node, now), tries=COLD_TRIES)

    def _cold_cost(self, candidates: CandidateSet, node: NodeState, now: float) -> float:
        """Whole steps for whom a load would hurt, fractions for load and for the time it takes."""
        harm = self._harm(candidates, node, now)
        if node.loaded:
            harm += 0.1 * len(node.loaded)  # of equals the emptier: then each gets its share of the models
        seconds = self._load_cost(candidates, node)
        return harm + node.in_flight / node.capacity * 0.5 + 0.4 * seconds / (seconds + 60.0)

    def _harm(self, candidates: CandidateSet, node: NodeState, now: float) -> float:
        """What a load would do to the other models: 0 when it fits, 1/4 when it may, 1 to 2 when it puts out an idle
        one, the more the later that was used, and 3 when all are busy, so that the load would have to wait."""
        loaded = node.loaded
        if not loaded:
            return 0.0
        size = candidates.size
        # The node's figures, or else what it was seen to hold at once.
        if node.vram_free is not None and size:
            if node.vram_free >= size * MEMORY_MARGIN:
                return 0.0
        elif not node.crowded:
            return UNTRIED
        elif size and node.held + (len(loaded) - node.reported + 1) * size <= node.most_held:
            return 0.0
        busy, records = node.in_flight_by_model, node.records
        used: float | None = None  # when the least recently used of the idle models was
        for model in loaded:
            if model not in busy:
                record = records.get(model)
                at = record.at if record is not None else 0.0
                if used is None or at < used:
                    used = at
        if used is None:
            return EVICTS + BUSY
        return EVICTS + RECENT_S / (RECENT_S + now - used) if used else EVICTS

    def _load_cost(self, candidates: CandidateSet, node: NodeState) -> float:
        measured = node.load_cost.get(candidates.model)
        if measured is not None:
            return measured
        fixed = self.options.warm_first.load_cost_ms
        if fixed:
            return fixed / 1000.0
        return candidates.roster.load_cost.get(candidates.model) or estimated_load_s(candidates.size)

    def _wait(self, candidates: CandidateSet, holder: NodeState, full: int, request: PlacementRequest) -> float:
        """Expected seconds until a slot of the full warm nodes is ours: they end one request per duration/slots."""
        record = holder.records.get(candidates.model)
        if record is not None and record.samples:
            seconds = record.latency
        else:
            seconds = self.options.default_latency_ms / 1000.0
        return (request.waiting + 1) * seconds / (holder.capacity * full.bit_count())
