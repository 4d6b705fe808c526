"""How long a node needs for what it has begun."""

from __future__ import annotations

from orchestrator.services.fleet.node import FleetNode

UNMEASURED = 30.0  # seconds, for a model that has not answered yet


def seconds_to_finish(node: FleetNode) -> float:
    """Seconds until a draining node is probably empty: the mean duration of the slowest model under way, 0 for none."""
    return max((_mean(node, model) for model in node.state.in_flight_by_model), default=0.0)


def _mean(node: FleetNode, model: str) -> float:
    pair = node.pairs.get(model)
    durations = pair.traffic.duration if pair is not None else None
    return durations.total / durations.count if durations is not None and durations.count else UNMEASURED
