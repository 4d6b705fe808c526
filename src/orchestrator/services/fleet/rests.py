"""The rests that nodes take after failures (`domain.placement.roster`), as operators see and end them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.services.fleet.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Rest:
    """`model` empty: the whole node. `until` in seconds since the epoch, `left` in seconds."""

    node: str
    model: str
    until: float
    left: float


def rests(fleet: Fleet) -> list[Rest]:
    """The rests under way."""
    now, epoch = fleet.clock.now, fleet.clock.epoch
    return [
        Rest(node.id, model, epoch + end - now, end - now)
        for node in fleet.nodes.values()
        for model, end in node.state.rests.items()
        if end > now
    ]


def end_rests(fleet: Fleet, covers: Callable[[str, str], bool]) -> int:
    """Ends the rests for which `covers(node, model)` is true; returns how many."""
    ended = [rest for rest in rests(fleet) if covers(rest.node, rest.model)]
    for rest in ended:
        fleet.nodes[rest.node].state.forgive(rest.model)
    return len(ended)
