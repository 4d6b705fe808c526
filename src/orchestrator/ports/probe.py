"""What the service asks of a model server besides inference."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.node import NodeReport, NodeSpec
from orchestrator.ports.upstream import Target


class Probe(Protocol):
    """Looks at one kind of model server. A probe never loads a model and never generates text."""

    async def look(self, spec: NodeSpec, target: Target, secret: str | None, timeout: float) -> NodeReport:
        """Never raises for a server that is down or wrong: the report says so. `timeout` in seconds, for all of it."""
