"""What tools keep for principals."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.note import Note


class NoteStore(Protocol):
    """Notes by principal, namespace and key. One that has expired is not there."""

    async def put(self, note: Note, most: int) -> bool:
        """Durable when this returns; replaces the note of the same name. False, and nothing is kept, where the
        principal has `most` others. Raises InvalidRequest, TooLarge."""

    async def get(self, principal: str, namespace: str, key: str, now: float) -> Note | None: ...

    async def keys(
        self, principal: str, namespace: str, now: float, limit: int, skip: int
    ) -> tuple[tuple[str, ...], int]:
        """In their order, and how many there are in all."""

    async def clear(self, principal: str, namespace: str, key: str | None, now: float) -> int:
        """Deletes one, or all of the namespace; how many there were."""
