"""Settings changed at run time, in memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

from orchestrator.domain.storable import check_storable
from orchestrator.ports.overrides import HISTORY_KEPT, OverrideEntry


class MemoryOverrides:
    """`OverrideStore` in a list. Documents are kept as text, so that nobody changes one from outside."""

    def __init__(self) -> None:
        self._versions: deque[tuple[int, str, str, float]] = deque(maxlen=HISTORY_KEPT)

    async def get(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self._versions[-1][1]) if self._versions else {}
        return document

    async def put(self, document: Mapping[str, Any], who: str, when: float) -> int:
        check_storable(document)
        check_storable((who, when))
        version = self._versions[-1][0] + 1 if self._versions else 1
        self._versions.append((version, json.dumps(dict(document)), who, when))
        return version

    async def history(self, limit: int = 50) -> tuple[OverrideEntry, ...]:
        newest = islice(reversed(self._versions), max(limit, 0))
        return tuple(OverrideEntry(version, json.loads(text), who, when) for version, text, who, when in newest)
