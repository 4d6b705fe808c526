"""Requests that begin alike go to the same node, whose prompt cache then serves them."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from math import ceil
from zlib import crc32

from orchestrator.domain.placement.bits import holds
from orchestrator.domain.placement.load import connection_cost
from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.options import PolicyOptions
from orchestrator.domain.placement.policy import Policy, Rand, Rating
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest

PIECE = 2048  # bytes; a longer part gets a boundary at each
BYTES_READ = 262_144  # a prompt that agrees so far agrees
FIRST_KEPT, LAST_KEPT = 16, 32
RING_POINTS = 4096
NEIGHBOURS = 3  # nodes that share a hot prefix before it is spread over all
SPREAD_OVER = 32  # with bounded loads at least a fifth of the nodes are below the bound
SPREAD = 0x9E3779B97F4A7C15  # golden ratio: makes a ring position of a checksum


def prefix_chain(parts: Iterable[bytes | str], seed: int = 0) -> tuple[int, ...]:
    """Checksums of the growing prefixes of a prompt, shortest first: one at the end of each part (a message) and at
    every 2,048 bytes inside. Equal prefixes give equal checksums in every process. A chat's next request contains the
    chain of the one before it. `seed` separates what must not share a cache, such as models or tenants.

    At most 48 entries (the first 16 and the last 32) of the first 256 KiB; about 0.1 ms then.
    """
    chain = [seed ^ checksum for checksum in _checksums(parts)]
    if len(chain) > FIRST_KEPT + LAST_KEPT:
        chain = chain[:FIRST_KEPT] + chain[-LAST_KEPT:]
    return tuple(chain)


def _checksums(parts: Iterable[bytes | str]) -> Iterator[int]:
    checksum = 0
    read = 0
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        for start in range(0, len(data), PIECE):
            # The length goes in, or "ab","c" and "a","bc" would be one prefix.
            piece = data[start : start + PIECE]
            checksum = crc32(piece, checksum ^ len(piece))
            yield checksum
            read += PIECE
            if read >= BYTES_READ:
                return


class _Ring:
    """Consistent hashing: each node owns points of a circle, in proportion to its weight."""

    __slots__ = ("indexes", "points")

    def __init__(self, candidates: CandidateSet) -> None:
        each = max(4, min(512, RING_POINTS // len(candidates.nodes)))
        mean = sum(node.weight for node in candidates.nodes) / len(candidates.nodes) or 1.0
        points = sorted(
            (_position(crc32(f"{node.id}#{k}".encode())), node.index)
            for node in candidates.nodes
            for k in range(max(1, min(round(each * node.weight / mean), each * 8)))
        )
        self.points = [point for point, _ in points]
        self.indexes = [index for _, index in points]

    def walk(self, key: int) -> Iterator[int]:
        """Node indexes from the key's place onwards, once round at most; an index may come again."""
        start = bisect_left(self.points, _position(key))
        yield from islice(self.indexes, start, None)
        yield from islice(self.indexes, start)


def _position(checksum: int) -> int:
    return checksum * SPREAD & 0xFFFFFFFFFFFFFFFF


class PrefixAffinity(Policy):
    """The node that served the longest known prefix, as long as its load stays within a bound; else the next shorter
    prefix's; else consistent hashing with bounded loads (Mirrokni et al. 2016) on the first block, so that replicas of
    this service that share no memory still agree. Requests without prefix or session go to the less busy of two."""

    name = "prefix_affinity"

    def __init__(self, options: PolicyOptions, rand: Rand) -> None:
        super().__init__(options, rand)
        self._served: OrderedDict[int, str] = OrderedDict()  # key of a prefix or session -> node id, oldest first

    def pick(
        self, candidates: CandidateSet, pool: int, usable: int, request: PlacementRequest, now: float
    ) -> NodeState | None:
        bound = self._bound(candidates, usable)
        node = self._known(candidates, pool, request, bound)
        if node is None:
            near = self._near(candidates, pool)
            key = self._key(request)
            if key is not None:
                node = self._hashed(candidates, near, key, bound, NEIGHBOURS)
            if node is None:
                node = self._spread(candidates, near, key, bound, now)
        self._remember(candidates.model, request, node)
        return node

    def rate(self, candidates: CandidateSet, node: NodeState, request: PlacementRequest, now: float) -> Rating:
        served = self._served
        model = candidates.model
        depth = sum(served.get(key) == node.id for key in _keys(model, request.prefix))
        session = bool(request.session) and served.get(hash((model, request.session))) == node.id
        within = node.in_flight_by_model.get(model, 0) < self._bound(candidates, candidates.mask)
        load = node.in_flight / node.capacity
        parts = {
            "known_blocks": float(depth),
            "session": float(session),
            "within_bound": float(within),
            "load": load,
        }
        return Rating((load - depth - session) if within else load + 1.0, parts)

    def forget(self, node: str) -> None:
        """Drop what is remembered of a node, whose cache is gone after a restart."""
        for key in [key for key, id in self._served.items() if id == node]:
            del self._served[key]

    def _bound(self, candidates: CandidateSet, usable: int) -> int:
        """Requests of the model that a node may have, the new one included: so many times the mean, and always some
        more than the mean, or else chance alone would drive conversations from their nodes while the load is low."""
        sharing = usable & candidates.roster.holders(candidates.model) or usable
        mean = (candidates.roster.in_flight.get(candidates.model, 0) + 1) / sharing.bit_count()
        options = self.options.prefix_affinity
        return ceil(max(options.balance * mean, mean + options.sticky_load))

    def _near(self, candidates: CandidateSet, pool: int) -> int:
        """The nodes for what is new: a node that does not hold the model has no cache of it either. Where more requests
        are under way than nodes hold the model, those that hold nothing too: chats stay where they began, and a
        fleet that starts cold would keep them all on the node that loaded first."""
        roster, model = candidates.roster, candidates.model
        holders = roster.holders(model)
        if roster.in_flight.get(model, 0) >= holders.bit_count():
            holders |= roster.empty
        return pool & holders or pool

    def _known(self, candidates: CandidateSet, pool: int, request: PlacementRequest, bound: int) -> NodeState | None:
        served, by_id, model = self._served, candidates.by_id, candidates.model
        previous = ""
        keys = _keys(model, request.prefix)
        if request.session:
            keys.append(hash((model, request.session)))
        for key in reversed(keys):
            id = served.get(key)
            if id is None or id == previous:
                continue
            previous = id
            node = by_id.get(id)
            if node is not None and pool & node.bit and node.in_flight_by_model.get(model, 0) < bound:
                return node
        return None

    def _key(self, request: PlacementRequest) -> int | None:
        if request.prefix:
            return request.prefix[0]
        return crc32(request.session.encode("utf-8", "replace")) if request.session else None

    def _spread(self, candidates: CandidateSet, pool: int, key: int | None, bound: int, now: float) -> NodeState:
        cost = partial(connection_cost, model=candidates.model, now=now, options=self.options.least_connections)
        node = self.better(candidates, pool, cost)
        if key is not None and node.in_flight_by_model.get(candidates.model, 0) >= bound:
            return self._hashed(candidates, pool, key, bound, SPREAD_OVER) or node
        return node

    def _hashed(self, candidates: CandidateSet, pool: int, key: int, bound: int, reach: int) -> NodeState | None:
        """The first node within the bound among the `reach` nodes that follow the key on the ring."""
        ring = candidates.memory.get(self)
        if not isinstance(ring, _Ring):
            ring = candidates.memory[self] = _Ring(candidates)
        seen: set[int] = set()
        for index in ring.walk(key):
            if index in seen:
                continue
            seen.add(index)
            if holds(pool, index):
                node = candidates.nodes[candidates.positions[index]]
                if node.in_flight_by_model.get(candidates.model, 0) < bound:
                    return node
            if len(seen) == reach:
                break
        return None

    def _remember(self, model: str, request: PlacementRequest, node: NodeState) -> None:
        served, id = self._served, node.id
        if request.session:
            served[hash((model, request.session))] = id
        for key in _keys(model, request.prefix):
            served[key] = id
        limit = self.options.prefix_affinity.entries
        while len(served) > limit:
            served.popitem(last=False)


def _keys(model: str, prefix: tuple[int, ...]) -> list[int]:
    # One number instead of a pair: a third of the memory, and chance makes two equal once in 2**64.
    salt = hash(model) * 2**32
    return [salt ^ block for block in prefix]
