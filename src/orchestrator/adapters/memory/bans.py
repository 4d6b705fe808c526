"""Bans in memory."""

from __future__ import annotations

from orchestrator.domain.ban import Ban
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.storable import check_storable


class MemoryBans:
    """`BanStore` in a dict."""

    def __init__(self) -> None:
        self._bans: dict[tuple[str, str], Ban] = {}

    async def list(self) -> tuple[Ban, ...]:
        return tuple(self._bans[pair] for pair in sorted(self._bans))

    async def put(self, ban: Ban) -> None:
        if not ban.node and not ban.model:
            raise InvalidRequest("a ban names a node, a model or both")
        check_storable(ban, ban.node, ban.model)
        self._bans[ban.node, ban.model] = ban

    async def delete(self, node: str, model: str) -> bool:
        return self._bans.pop((node, model), None) is not None

    async def clear(self, *, node: str | None = None, model: str | None = None) -> int:
        lifted = [pair for pair in self._bans if node in (None, pair[0]) and model in (None, pair[1])]
        for pair in lifted:
            del self._bans[pair]
        return len(lifted)
