"""A Ban keeps traffic from a node, a model, or one model on one node, for a while or until it is lifted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ban:
    """`node` or `model` empty means "any"; both empty is not a ban. `until` None: until lifted."""

    node: str
    model: str
    reason: str = ""
    until: float | None = None  # seconds since the epoch
    created_at: float = 0.0
    created_by: str = ""

    @property
    def key(self) -> str:
        return f"{self.node}:{self.model}" if self.model else self.node

    def covers(self, node: str, model: str, now: float) -> bool:
        """Whether the ban is in force for this pair at `now`."""
        if self.until is not None and now >= self.until:
            return False
        return (not self.node or self.node == node) and (not self.model or self.model == model)
