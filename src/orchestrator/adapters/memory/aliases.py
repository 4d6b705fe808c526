"""Aliases in memory."""

from __future__ import annotations

from orchestrator.domain.alias import Alias
from orchestrator.domain.storable import check_storable


class MemoryAliases:
    """`AliasStore` in a dict."""

    def __init__(self) -> None:
        self._aliases: dict[str, Alias] = {}

    async def list(self) -> tuple[Alias, ...]:
        return tuple(self._aliases[name] for name in sorted(self._aliases))

    async def put(self, alias: Alias) -> None:
        check_storable(alias, alias.name)
        self._aliases[alias.name] = alias

    async def delete(self, name: str) -> bool:
        return self._aliases.pop(name, None) is not None
