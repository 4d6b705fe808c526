"""A model server that this service runs itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from orchestrator.domain.node import NodeSpec


class LocalServer(Protocol):
    """Serves one model on loopback."""

    node: NodeSpec
    """What to register. `url` is that of the last start: it changes when the engine is started again."""

    async def run(self, starting: Callable[[], None], ready: Callable[[], None], ended: Callable[[str], None]) -> None:
        """Keeps the server running until cancelled, and ends it then. `starting` is called before each start, when
        `node` has its new URL and nothing answers there yet; `ready` when the model is loaded; `ended(reason)` when the
        server died, before the pause until its next start."""
