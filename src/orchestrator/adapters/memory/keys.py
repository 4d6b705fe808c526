"""API keys in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.domain.api_key import ApiKey
from orchestrator.domain.errors import Conflict
from orchestrator.domain.storable import check_storable


class MemoryKeys:
    """`KeyStore` in two dicts."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._ids: dict[str, str] = {}  # by hash

    async def list(self) -> tuple[ApiKey, ...]:
        return tuple(sorted(self._keys.values(), key=lambda key: (key.created_at, key.id)))

    async def put(self, key: ApiKey) -> None:
        check_storable(key, key.id, key.hash)
        if self._ids.get(key.hash, key.id) != key.id:
            raise Conflict("another API key has the same hash")
        before = self._keys.get(key.id)
        if before is not None:
            del self._ids[before.hash]
        self._keys[key.id] = key
        self._ids[key.hash] = key.id

    async def revoke(self, key_id: str, when: float) -> bool:
        check_storable(when)
        key = self._keys.get(key_id)
        if key is None or key.revoked_at is not None:
            return False
        self._keys[key_id] = replace(key, revoked_at=when)
        return True

    async def find(self, key_hash: str) -> ApiKey | None:
        key_id = self._ids.get(key_hash)
        return None if key_id is None else self._keys[key_id]

    async def touch(self, key_ids: Iterable[str], when: float) -> None:
        check_storable(when)
        for key_id in key_ids:
            key = self._keys.get(key_id)
            if key is not None and (key.last_used_at is None or key.last_used_at < when):
                self._keys[key_id] = replace(key, last_used_at=when)
