"""The durable list of API keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from orchestrator.domain.api_key import ApiKey


class KeyStore(Protocol):
    """API keys by id and by hash. Revoked and expired ones are kept, so that an audit can name them."""

    async def list(self) -> tuple[ApiKey, ...]:
        """All keys, by time of creation and id."""

    async def put(self, key: ApiKey) -> None:
        """Adds or replaces a key. `Conflict` when another id has the same hash."""

    async def revoke(self, key_id: str, when: float) -> bool:
        """Revokes a key; returns False when it is unknown or was revoked before. `when`: seconds since the epoch."""

    async def find(self, key_hash: str) -> ApiKey | None:
        """The key with this `hash_secret`, usable or not."""

    async def touch(self, key_ids: Iterable[str], when: float) -> None:
        """Records the last use of these keys in one transaction. A later time already recorded stays."""
