"""Functions that the operator names, run outside this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Called:
    """What became of a call: the result as JSON, or why there is none. `final`: another call would not help."""

    result: bytes | None = None
    error: str = ""
    final: bool = False


class Callables(Protocol):
    async def call(self, function: str, argument: bytes) -> Called:
        """Calls `module:function` with one argument (JSON). Cancelling this ends the call, whatever it does."""

    async def close(self) -> None:
        """Ends what still runs."""
