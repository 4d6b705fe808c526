"""The durable list of bans."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.ban import Ban


class BanStore(Protocol):
    """Bans, one per pair of node and model; an empty name means any."""

    async def list(self) -> tuple[Ban, ...]:
        """All bans, expired ones too, by node and model."""

    async def put(self, ban: Ban) -> None:
        """Adds or replaces the ban of the pair. `InvalidRequest` when it names neither node nor model."""

    async def delete(self, node: str, model: str) -> bool:
        """Lifts the ban of exactly this pair; returns whether there was one."""

    async def clear(self, *, node: str | None = None, model: str | None = None) -> int:
        """Lifts all bans, or those of a node, or of a model, or of both; returns how many."""
