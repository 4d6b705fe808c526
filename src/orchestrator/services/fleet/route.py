"""Where a client's model name leads, and whether a node can serve it on an endpoint at all."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.domain.catalogue import Resolved
from orchestrator.domain.dialects import Endpoint, Operation, target_endpoint
from orchestrator.domain.errors import Unsupported
from orchestrator.domain.placement import CandidateSet
from orchestrator.services.fleet.node import FleetNode

COMPLETION = "completion"


class Route(NamedTuple):
    """A model's name resolved: the catalogue names it may be served under, best first, each with its candidates."""

    resolved: Resolved
    options: tuple[tuple[str, CandidateSet], ...]


def capable(node: FleetNode, capabilities: frozenset[str], endpoint: Endpoint) -> bool:
    """Judged by what the node itself says of the model, never by the model's name."""
    # Engines embed with models that only tell of completion; the other way round none does.
    if capabilities and endpoint.operation is not Operation.EMBED and COMPLETION not in capabilities:
        return False
    try:
        target_endpoint(endpoint, node.dialect_for(endpoint.dialect))
    except Unsupported:
        return False
    return True
