"""What placement needs to know of a request, and the nodes that may serve it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.roster import Roster


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """`prefix` is the chain of `prefix_chain`, shortest first; `session` a caller's own key of a conversation.

    `waiting` counts the requests for the same model queued ahead, `waited_s` the time this one has queued so far;
    `may_wait` False makes a policy prefer a poor node to none.
    """

    model: str
    prefix: tuple[int, ...] = ()
    session: str = ""
    priority: int = 0
    est_tokens: int = 0
    waiting: int = 0
    waited_s: float = 0.0
    may_wait: bool = True


@dataclass(slots=True, eq=False)
class CandidateSet:
    """The nodes that passed every slow-moving filter for one model: healthy, active, not banned, breaker not open,
    with the model and the capability. Built once and again when one of those facts changes; room and rests are read
    live. `size` is the model's size in bytes, 0 when unknown. All nodes belong to one roster.
    """

    nodes: Sequence[NodeState]
    model: str
    size: int = 0
    mask: int = field(init=False, default=0)
    roster: Roster = field(init=False)
    by_id: dict[str, NodeState] = field(init=False)
    positions: dict[int, int] = field(init=False)  # node index -> position in `nodes`
    memory: dict[object, object] = field(init=False, default_factory=dict)  # each policy's own working state

    def __post_init__(self) -> None:
        self.nodes = tuple(self.nodes)
        self.roster = self.nodes[0].roster if self.nodes else Roster()
        self.by_id = {node.id: node for node in self.nodes}
        self.positions = {node.index: position for position, node in enumerate(self.nodes)}
        for node in self.nodes:
            self.mask |= node.bit
