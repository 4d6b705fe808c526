"""Switches in memory."""

from __future__ import annotations

from orchestrator.domain.storable import check_storable


class MemorySwitches:
    """`SwitchStore` in a dict."""

    def __init__(self) -> None:
        self._off: dict[str, float] = {}

    async def off(self) -> frozenset[str]:
        return frozenset(self._off)

    async def put(self, name: str, *, off: bool, when: float) -> None:
        check_storable((name, when), name)
        if off:
            self._off.setdefault(name, when)
        else:
            self._off.pop(name, None)
