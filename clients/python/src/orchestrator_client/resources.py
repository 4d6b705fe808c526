"""What a handler needs of a cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

NAMES = ("num_cpus", "num_gpus", "memory", "custom")


@dataclass(frozen=True, slots=True)
class Resources:
    """`num_cpus` and `num_gpus` may be parts of one, `memory` is in bytes, `custom` are resources that the cluster's
    nodes were started with."""

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any] | None) -> Self:
        """Raises TypeError, ValueError."""
        given = dict(told or {})
        custom = given.pop("custom", None) or {}
        unknown = sorted(set(given) - set(NAMES))
        if unknown:
            raise ValueError(f"resources: {unknown[0]!r} is none of {', '.join(NAMES)}")
        for name in ("CPU", "GPU", "memory"):
            if name in custom:
                raise ValueError(f"resources: {name} is not a custom one, use num_cpus, num_gpus or memory")
        amounts = {name: _amount(name, value) for name, value in given.items() if value is not None}
        gpus = amounts.get("num_gpus", 0.0)
        if gpus > 1.0 and gpus != int(gpus):
            raise ValueError("resources: num_gpus above 1 is a whole number")
        return cls(**amounts, custom={name: _amount(name, value) for name, value in custom.items()})

    @property
    def needs(self) -> Mapping[str, float]:
        """By Ray's names, without what is not needed."""
        named = {"CPU": self.num_cpus, "GPU": self.num_gpus, "memory": self.memory, **self.custom}
        return {name: amount for name, amount in named.items() if amount > 0.0}

    def fits(self, node: Mapping[str, float]) -> int:
        """How many at a time a node with these resources can run. Who needs nothing counts as needing a CPU."""
        needs = self.needs or {"CPU": 1.0}
        return min(math.floor(node.get(name, 0.0) / amount + 1e-6) for name, amount in needs.items())

    def __str__(self) -> str:
        return ", ".join(f"{name} {amount:g}" for name, amount in self.needs.items()) or "nothing"


def _amount(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"resources: {name} is a number")
    if not 0.0 <= value < math.inf:
        raise ValueError(f"resources: {name} is at least 0")
    return float(value)
