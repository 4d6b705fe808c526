"""What operators have switched off, which a restart does not switch on again."""

from __future__ import annotations

from typing import Protocol


class SwitchStore(Protocol):
    """A set of names."""

    async def off(self) -> frozenset[str]:
        """The names of all that is switched off."""

    async def put(self, name: str, *, off: bool, when: float) -> None:
        """Remembers that it is switched off (`when`: seconds since the epoch; the first moment stays), or on again.
        Durable when this returns; the same again changes nothing."""
