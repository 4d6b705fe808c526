"""Vectors of what things mean, and looking for the nearest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ThingKind(StrEnum):
    TOOL = "tool"
    ARTIFACT = "artifact"


@dataclass(frozen=True, slots=True)
class Meaning:
    """`vector` has 32-bit floats, little-endian, of a text with this `digest` (SHA-256, hexadecimal)."""

    id: str
    model: str
    digest: str
    vector: bytes


class MeaningStore(Protocol):
    """Every method raises StorageUnavailable."""

    async def pending(self, kind: ThingKind, limit: int) -> tuple[tuple[str, str], ...]:
        """Things whose words have changed since their vector was made, or that have none: ids and the digests of their
        vectors (empty: none), the newest first."""

    async def keep(self, kind: ThingKind, found: Sequence[Meaning], at: float) -> None:
        """Replaces vectors; these things are not pending any more. A thing that is gone is passed over."""

    async def settled(self, kind: ThingKind, ids: Collection[str]) -> None:
        """These vectors are still right."""

    async def forget_others(self, kind: ThingKind, model: str) -> int:
        """Deletes the vectors of other models, whose things are pending again; how many."""

    async def since(self, kind: ThingKind, at: float, limit: int) -> tuple[tuple[Meaning, float], ...]:
        """The newest vectors that were kept at this time or later, with these times."""

    async def count(self, kind: ThingKind) -> int: ...


class VectorIndex(Protocol):
    """Vectors in memory. All have one length: that of the first one."""

    most: int  # vectors that find room
    full: bool  # one has been left out for lack of room

    def put(self, found: Sequence[tuple[str, bytes]]) -> None:
        """Adds or replaces vectors. One of another length, or without a direction, is left out."""

    def nearest(self, vector: bytes, limit: int) -> list[tuple[str, float]]:
        """The nearest by the cosine of the angle between them (1: the same direction), the nearest first. Takes long:
        not for the event loop."""
