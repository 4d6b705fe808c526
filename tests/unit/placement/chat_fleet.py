"""Conversations that grow turn by turn on a virtual clock, with one gateway or with several that share the nodes."""

from __future__ import annotations

import random
from collections import Counter
from heapq import heappop, heappush

from orchestrator.domain.placement import (
    CandidateSet,
    NodeState,
    Outcome,
    Placement,
    PlacementRequest,
    Residency,
    Roster,
    prefix_chain,
)

MODEL = "m:latest"


class Replica:
    """One gateway: its own nodes' numbers and its own memory of prefixes."""

    def __init__(self, policy: str, rng: random.Random, nodes: int, slots: int, cold: bool) -> None:
        roster = Roster()
        self.nodes = [roster.join(f"n{i}", slots) for i in range(nodes)]
        for node in self.nodes:
            node.set_loaded({} if cold else {MODEL: Residency(4e9)})
        self.candidates = CandidateSet(self.nodes, MODEL)
        self.placement = Placement(policy, rand=rng.random)


class ChatFleet:
    """`chats` conversations of about `turns` turns each, `per_second` new ones. A turn goes to a random replica. A cold
    fleet holds no model at first; here a load takes no time."""

    def __init__(
        self,
        policy: str,
        seed: int,
        *,
        chats: int = 500,
        turns: int = 8,
        replicas: int = 1,
        per_second: float = 0.6,
        cold: bool = False,
    ) -> None:
        self.rng = random.Random(seed)
        self.chats, self.turns, self.per_second = chats, turns, per_second
        self.replicas = [Replica(policy, self.rng, 4, 32, cold) for _ in range(replicas)]
        self.prefixes: dict[int, list[bytes]] = {}
        self.last: dict[int, str] = {}
        self.followed = self.hits = 0
        self.sent: Counter[str] = Counter()
        self._events: list[tuple[float, int, int, Replica | None, NodeState | None]] = []
        self._serial = 0

    @property
    def hit_rate(self) -> float:
        """Share of the later turns that went to the node of the turn before."""
        return self.hits / self.followed

    @property
    def imbalance(self) -> float:
        """The busiest node's requests over the mean."""
        return max(self.sent.values()) / (sum(self.sent.values()) / 4)

    def run(self) -> None:
        at = 0.0
        for chat in range(self.chats):
            at += self.rng.expovariate(self.per_second)
            # Ten applications, each with its own system prompt; some openings are the same.
            self.prefixes[chat] = [b"system %d" % (chat % 10), b"question %d" % self.rng.randrange(self.chats)]
            self._push(at, chat)
        while self._events:
            now, _, chat, replica, node = heappop(self._events)
            if replica is None or node is None:
                self._turn(now, chat)
            else:
                node.finish(MODEL, Outcome(True, 2.0, 0.1, 50, 200), now)

    def _push(self, at: float, chat: int, replica: Replica | None = None, node: NodeState | None = None) -> None:
        self._serial += 1
        heappush(self._events, (at, self._serial, chat, replica, node))

    def _turn(self, now: float, chat: int) -> None:
        rng, parts = self.rng, self.prefixes[chat]
        replica = rng.choice(self.replicas)
        # As the gateway makes it: the opening is the first checksum.
        opening = prefix_chain(parts[:2])[-1]
        request = PlacementRequest(MODEL, prefix=(opening, *prefix_chain(parts[2:], opening)))
        node = replica.placement.choose(replica.candidates, request, now)
        assert node is not None
        node.begin(MODEL)
        self.sent[node.id] += 1
        if chat in self.last:
            self.followed += 1
            self.hits += self.last[chat] == node.id
        self.last[chat] = node.id
        self._push(now + rng.uniform(1.0, 3.0), chat, replica, node)
        parts += [b"answer %d" % self._serial, b"and then %d" % self._serial]
        if rng.random() > 1 / self.turns:
            self._push(now + rng.uniform(4.0, 20.0), chat)
