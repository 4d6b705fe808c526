"""The durable list of model aliases."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.alias import Alias


class AliasStore(Protocol):
    """Aliases by name."""

    async def list(self) -> tuple[Alias, ...]:
        """All aliases, by name."""

    async def put(self, alias: Alias) -> None:
        """Adds or replaces an alias."""

    async def delete(self, name: str) -> bool:
        """Removes an alias; returns whether it was there."""
