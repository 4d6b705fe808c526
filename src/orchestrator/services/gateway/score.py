"""The fleet contract's load balancer score of the nodes of a model, whatever policy is in force."""

from __future__ import annotations

from orchestrator.domain.dialects.endpoint import OLLAMA_CHAT, OLLAMA_EMBED
from orchestrator.domain.placement import PlacementRequest
from orchestrator.services.gateway.gateway import Gateway

POLICY = "weighted"
PARTS = {
    "latency": "latencyScore",
    "success_rate": "successRateScore",
    "load": "loadScore",
    "capacity": "capacityScore",
    "circuit_breaker": "circuitBreakerScore",
    "timeout": "timeoutScore",
    "throughput": "throughputScore",
    "vram": "vramScore",
}


def scores(gateway: Gateway, model: str) -> dict[str, dict[str, float]]:
    """By node: `totalScore` and its parts, 0 to 100. Nodes that may not serve the model now have none."""
    candidates = gateway.fleet.candidates(model, OLLAMA_CHAT)
    if not candidates.nodes:
        candidates = gateway.fleet.candidates(model, OLLAMA_EMBED)
    if not candidates.nodes:
        return {}
    considered = gateway.placement.explain(candidates, PlacementRequest(model), gateway.clock.now, POLICY)
    return {
        one.node: {"totalScore": round(-one.cost, 2)}
        | {PARTS[part]: round(value, 2) for part, value in one.parts.items() if part in PARTS}
        for one in considered
    }
