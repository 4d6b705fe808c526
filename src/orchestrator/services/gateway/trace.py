"""The decision trace of one request, as `?debug=true` shows it: where it went, why, and what was tried before."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from orchestrator.services.fleet.node import FleetNode

if TYPE_CHECKING:
    from orchestrator.services.gateway.exchange import Exchange


def debug_fields(exchange: Exchange) -> dict[str, Any]:
    """The fields of the fleet contract's `debug` object, absent when empty. Times in milliseconds."""
    gateway = exchange.gateway
    fleet = gateway.fleet
    attempts = exchange.attempts
    node = fleet.get(attempts[-1].node_id) if attempts else None
    failures = [attempt for attempt in attempts if attempt.error]
    considered = _considered(exchange)
    fields: dict[str, Any] = {
        "requestId": exchange.id,
        "requestTimestamp": gateway.clock.timestamp(),
        "model": exchange.catalogue_model,
        "availableServerCount": sum(1 for one in considered if not one["reason"]),
        "totalCandidates": len(considered),
        "candidates": considered,
        "retryCount": max(0, len(attempts) - 1),
        "serversTried": [attempt.node_id for attempt in attempts],
        "failoverPhase": attempts[-1].phase if attempts else None,
        "failoverCount": len(failures),
        "failoverErrors": [
            {"serverId": attempt.node_id, "error": attempt.error, "errorType": attempt.kind} for attempt in failures
        ],
        "failoverOccurred": len({attempt.node_id for attempt in attempts}) > 1,
        "algorithm": exchange.policy or gateway.placement.policy,
        "timeoutMs": round((exchange.deadline - exchange.started) * 1000) if isfinite(exchange.deadline) else None,
        "queueWaitTime": round(exchange.queue_wait * 1000, 1),
        "serverScores": [
            {"serverId": one["serverId"], "totalScore": one["score"]} for one in considered if one["score"] is not None
        ],
        "excludedServers": [one["serverId"] for one in considered if one["reason"]],
    }
    if node is not None:
        fields |= _chosen(exchange, node)
    if exchange.first_byte_at:
        fields["timeToFirstToken"] = round((exchange.first_byte_at - exchange.started) * 1000, 1)
        fields["chunkData"] = {"chunkCount": exchange.tokens_seen}
    if exchange.usage is not None:
        fields["tokensGenerated"] = exchange.usage.completion_tokens
        fields["tokensPrompt"] = exchange.usage.prompt_tokens
    if exchange.continuations:
        fields["handoffAttempted"] = True
        fields["handoffSuccess"] = exchange.error is None
    if any(attempt.kind == "stalled" for attempt in attempts):
        fields["stallDetected"] = True
    if exchange.error is not None:
        fields["lastError"] = exchange.error.message
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


def _considered(exchange: Exchange) -> list[dict[str, Any]]:
    """Every node with its score, or the reason why it was not to be had."""
    if exchange.resolved is None:
        return []
    explained = exchange.gateway.explain(exchange)
    return [
        {
            "serverId": one.node,
            "score": round(one.cost, 6) if isfinite(one.cost) else None,
            "parts": dict(one.parts) or None,
            "reason": str(one.reason) if one.reason else "",
        }
        for one in explained
    ]


def _chosen(exchange: Exchange, node: FleetNode) -> dict[str, Any]:
    pair = exchange.pair
    state = node.breaker.state
    return {
        "selectedServerId": node.id,
        "serverCircuitState": str(state),
        "modelCircuitState": str(pair.breaker.state) if pair else None,
        "serverLoad": node.state.in_flight,
        "maxConcurrency": node.spec.max_concurrency,
        "protocol": exchange.attempts[-1].dialect,
        "routedToOpenCircuit": True if exchange.bypass and str(state) == "open" else None,
    }


def debug_headers(exchange: Exchange) -> str:
    """The contract's `X-...` headers, for answers whose body carries no debug field."""
    fields = debug_fields(exchange)
    lines: list[tuple[str, Any]] = [
        ("X-Server-Circuit-State", fields.get("serverCircuitState")),
        ("X-Model-Circuit-State", fields.get("modelCircuitState")),
        ("X-Available-Servers", fields.get("availableServerCount")),
        ("X-Total-Candidates", fields.get("totalCandidates")),
        ("X-Servers-Tried", ",".join(fields.get("serversTried", []))),
        ("X-Server-Load", fields.get("serverLoad")),
        ("X-Max-Concurrency", fields.get("maxConcurrency")),
        ("X-Algorithm", fields.get("algorithm")),
        ("X-Timeout-Ms", fields.get("timeoutMs")),
        ("X-Queue-Wait-Ms", fields.get("queueWaitTime")),
        ("X-Retry-Count", fields.get("retryCount") or None),
        ("X-Failover-Phase", fields.get("failoverPhase")),
        ("X-Failover-Count", fields.get("failoverCount") or None),
        ("X-Failover-Occurred", "1" if fields.get("failoverOccurred") else None),
        ("X-Stall-Detected", "1" if fields.get("stallDetected") else None),
    ]
    return "".join(f"{name}: {value}\r\n" for name, value in lines if value not in (None, ""))
