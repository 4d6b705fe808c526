"""A breaker as it outlives the process: plain numbers, one row."""

from __future__ import annotations

from dataclasses import dataclass


def split_key(key: str) -> tuple[str, str]:
    """`node` or `node:model` -> (node, model). A node's id holds no colon, a model's name may."""
    node, _, model = key.partition(":")
    return node, model


@dataclass(frozen=True, slots=True)
class BreakerRecord:
    """Times are seconds since the epoch, 0 = never. `model` is empty for the node's own breaker."""

    node: str
    model: str
    state: str
    failure_count: int = 0
    success_count: int = 0
    opened_at: float = 0.0
    open_until: float | None = None  # None: not open, or open until an operator's next word
    open_count: int = 0  # openings in a row, which lengthen the next one
    reason: str = ""
    last_failure_at: float = 0.0
    last_success_at: float = 0.0
    forced: bool = False  # an operator set the state

    @property
    def key(self) -> str:
        return f"{self.node}:{self.model}" if self.model else self.node
