"""The live nodes of one fleet and the sets of them that placement asks about."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from orchestrator.domain.placement.bits import lowest, members
from orchestrator.domain.placement.node_state import NodeState

CHANGES_KEPT = 1024
REST_AFTER = 2  # failures in a row
REST_BASE_S = 0.5
REST_FACTOR = 3.0
REST_LIMIT_S = 60.0


class Roster:
    """Owner of the node indexes, of the bit sets over them (`bits.py`), and of the log of changed nodes.

    A node that failed twice in a row *rests*: 0.5 s, then three times as long after each further failure, at most a
    minute. When the rest is over it gets one request at a time until one succeeds. A rest holds for one model; where
    the node gave no HTTP answer at all, for all of them. So a fast failure never looks like idle capacity, whatever
    the policy.
    """

    __slots__ = (
        "_free",
        "_rests",
        "changes",
        "empty",
        "in_flight",
        "load_cost",
        "nodes",
        "resting",
        "resting_for",
        "room",
        "sequence",
        "untold",
        "warm",
    )

    def __init__(self) -> None:
        self.nodes: list[NodeState | None] = []
        self.room = 0  # in_flight < max_concurrency
        self.warm: dict[str, int] = {}  # model -> nodes that hold it in memory, or are loading it
        self.empty = 0  # nodes that hold nothing: a load puts out no other model
        self.untold = 0  # nodes that do not tell what they hold: they serve what they list
        self.in_flight: dict[str, int] = {}  # model -> requests on all nodes
        self.load_cost: dict[str, float] = {}  # model -> s, as last measured on any node
        self.resting = 0
        self.resting_for: dict[str, int] = {}
        self.changes: deque[int] = deque(maxlen=CHANGES_KEPT)  # indexes whose figures changed, newest last
        self.sequence = 0  # changes ever made
        self._free = 0
        self._rests: list[tuple[float, int, str, NodeState]] = []

    def join(self, id: str, max_concurrency: int = 4, weight: float = 1.0) -> NodeState:
        """Make the state of a node that enters the fleet. What it holds in memory is unknown until `set_loaded`."""
        if self._free:
            index = lowest(self._free)
            self._free &= self._free - 1
        else:
            index = len(self.nodes)
            self.nodes.append(None)
        node = NodeState(self, index, id, max_concurrency, weight)
        self.nodes[index] = node
        self.room |= node.bit
        self.untold |= node.bit
        return node

    def leave(self, node: NodeState) -> None:
        """Forget a node. Its running requests may still finish; they no longer touch the fleet's sets.

        Its index is given to the next node that joins: build the candidate sets that hold it anew before that.
        """
        if not node.bit:
            return
        keep = ~node.bit
        self.room &= keep
        self.empty &= keep
        self.untold &= keep
        self.resting &= keep
        for sets in (self.warm, self.resting_for):
            for model in list(sets):
                sets[model] &= keep
                if not sets[model]:
                    del sets[model]
        for model, count in node.in_flight_by_model.items():
            self.in_flight[model] -= count
        self.nodes[node.index] = None
        self._free |= node.bit
        node.bit = 0

    def touch(self, index: int) -> None:
        self.sequence += 1
        self.changes.append(index)

    def holders(self, model: str) -> int:
        """Nodes that can answer without loading the model first."""
        return self.warm.get(model, 0) | self.untold

    def unavailable(self, model: str) -> int:
        """Nodes that rest from this model."""
        return self.resting | self.resting_for.get(model, 0)

    def rest(self, node: NodeState, model: str, streak: int, now: float) -> None:
        """Start a rest; an empty `model` means all models."""
        seconds = min(REST_BASE_S * REST_FACTOR ** min(streak - REST_AFTER, 16), REST_LIMIT_S)
        self.pause(node, model)
        if model not in node.rests:
            heappush(self._rests, (now + seconds, self.sequence, model, node))
        node.rests[model] = now + seconds

    def pause(self, node: NodeState, model: str) -> None:
        if model:
            self.resting_for[model] = self.resting_for.get(model, 0) | node.bit
        else:
            self.resting |= node.bit
        self.touch(node.index)

    def resume(self, node: NodeState, model: str) -> None:
        if model:
            left = self.resting_for.get(model, 0) & ~node.bit
            if left:
                self.resting_for[model] = left
            else:
                self.resting_for.pop(model, None)
        else:
            self.resting &= ~node.bit
        self.touch(node.index)

    def settle(self, now: float) -> None:
        """End the rests that are over at `now`; their nodes are on trial."""
        rests = self._rests
        while rests and rests[0][0] <= now:
            _, order, model, node = heappop(rests)
            until = node.rests.get(model)
            if until is None:
                continue
            if until > now:
                heappush(rests, (until, order, model, node))
                continue
            del node.rests[model]
            node.trials.add(model)
            self.resume(node, model)

    def next_rest_end(self, mask: int) -> float | None:
        """When the first of these nodes ends its rest (monotonic seconds); None when none rests."""
        found = [
            until for index in members(mask) if (node := self.nodes[index]) is not None for until in node.rests.values()
        ]
        return min(found, default=None)
