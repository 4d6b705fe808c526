"""Values of expressions: plain data, and what an evaluation may spend on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest

STEPS = 1_000_000  # of one evaluation
ELEMENTS = 1_000_000  # of one value: characters, items, and those within them
ITERATIONS = 100_000  # of the comprehensions of one evaluation
INT_BITS = 4_096
DEPTH = 100  # of a value
LETTERS = 50  # characters that count as one step

Number = (int, float)
Listed = (list, tuple, set, frozenset)


class ExpressionError(InvalidRequest):
    """The expression is wrong, or has no value for these names."""

    code = "expression_error"


class Budget:
    """What one evaluation may still spend."""

    __slots__ = ("iterations", "steps")

    def __init__(self) -> None:
        self.steps = STEPS
        self.iterations = ITERATIONS

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise ExpressionError(f"the expression takes more than {STEPS:,} steps")

    def iterate(self) -> None:
        self.iterations -= 1
        if self.iterations < 0:
            raise ExpressionError(f"the expression makes more than {ITERATIONS:,} iterations")

    def letters(self, *texts: str) -> None:
        self.spend(sum(map(len, texts)) // LETTERS)

    def weigh(self, value: Any, depth: int = 0) -> int:
        """How many elements a value has, counted as often as it has them; each is a step."""
        if isinstance(value, str):
            self.spend(1 + len(value) // LETTERS)
            return 1 + len(value)
        if isinstance(value, Mapping):
            return self._sum((*value.keys(), *value.values()), depth)
        if isinstance(value, Listed):
            return self._sum(value, depth)
        self.spend(1)
        return 1

    def _sum(self, values: Any, depth: int) -> int:
        if depth > DEPTH:
            raise ExpressionError(f"a value is nested deeper than {DEPTH} levels")
        self.spend(1 + len(values))
        return 1 + sum(self.weigh(one, depth + 1) for one in values)


def fits(size: int) -> None:
    if size > ELEMENTS:
        raise ExpressionError(f"a value has more than {ELEMENTS:,} elements")


def number(value: Any) -> Any:
    """A number that is not too large. Raises ExpressionError."""
    if isinstance(value, int) and value.bit_length() > INT_BITS:
        raise ExpressionError(f"a whole number has more than {INT_BITS:,} bits")
    if isinstance(value, complex):
        raise ExpressionError("the value is not a real number")
    return value


def hashable(value: Any) -> Any:
    """What may be a key, or in a set."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ExpressionError("keys and members of sets are texts, numbers, true, false or null")
