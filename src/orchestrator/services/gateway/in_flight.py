"""What the gateway is doing now, for operators (fleet contract 1.5 and 1.6). Times are milliseconds since the epoch,
durations milliseconds."""

from __future__ import annotations

from collections import Counter
from typing import Any

from orchestrator.ports.record import Attempt, RequestRecord
from orchestrator.services.gateway.exchange import Exchange
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.gateway.parse import whole
from orchestrator.services.gateway.relay import Streamed

MAX_SHOWN = 256 * 1024  # bytes of a body that is decoded to be looked at


def in_flight(gateway: Gateway, *, content: bool) -> list[dict[str, Any]]:
    """One entry per node with requests, and per node that has none. `content`: with what was asked and answered."""
    by_node: dict[str, list[Exchange]] = {node_id: [] for node_id in gateway.fleet.nodes}
    for exchange in gateway.active:
        if exchange.node is not None:
            by_node.setdefault(exchange.node.id, []).append(exchange)
    return [_node(gateway, node_id, exchanges, content) for node_id, exchanges in by_node.items()]


def by_model(gateway: Gateway) -> dict[str, dict[str, Any]]:
    """Requests under way by node and model."""
    return {
        node.id: {"total": node.state.in_flight, "byModel": dict(node.state.in_flight_by_model)}
        for node in gateway.fleet.nodes.values()
    }


def queue(gateway: Gateway, limit: int) -> dict[str, Any]:
    """The admission queue, its next `limit` requests first."""
    now = gateway.clock.tick()
    shown = gateway.queue.snapshot(now, limit)
    items = [
        _waiting(gateway, item["ticket"], item, now, position) for position, item in enumerate(shown["items"], start=1)
    ]
    return {
        "currentSize": shown["current_size"],
        "maxSize": shown["max_size"],
        "totalQueued": shown["total_queued"],
        "totalDropped": shown["total_dropped"],
        "totalProcessed": shown["total_popped"],
        "avgWaitTime": round(shown["avg_wait_time"] * 1000, 1),
        "expectedWait": round(gateway.queue.expected_wait(now) * 1000) if shown["current_size"] else 0,
        "paused": shown["paused"],
        "byModel": shown["by_model"],
        "items": items,
    }


def requests_per_second(gateway: Gateway, window: float = 60.0) -> float:
    """Answers of the last `window` seconds, a second; over a shorter time where history reaches back no further."""
    now = gateway.clock.epoch
    oldest, count = now, 0
    for record in reversed(gateway.history):
        ended = record.at + record.duration
        if ended < now - window:
            oldest = now - window
            break
        oldest = min(oldest, ended)
        count += 1
    else:
        if len(gateway.history) < (gateway.history.maxlen or 0):
            oldest = now - window
    return round(count / max(now - oldest, 1.0), 3)


def finished(record: RequestRecord, clock_offset: float) -> dict[str, Any]:
    """A finished request with its attempts. `clock_offset`: what to add to monotonic seconds for the epoch."""
    return {
        "id": record.id,
        "timestamp": _ms(record.at),
        "endpoint": record.endpoint,
        "principal": record.principal,
        "model": record.model,
        "serverId": record.node,
        "status": record.status,
        "outcome": record.outcome,
        "success": record.outcome == "ok",
        "errorType": record.error or None,
        "streaming": record.stream,
        "duration": _span(record.duration),
        "queueWaitTime": _span(record.queue_wait),
        "ttft": None if record.ttft is None else _span(record.ttft),
        "tokensPrompt": record.prompt_tokens,
        "tokensGenerated": record.completion_tokens,
        "estimated": record.estimated,
        "attempts": [_attempt(one, clock_offset) for one in record.attempts],
    }


def _attempt(one: Attempt, clock_offset: float) -> dict[str, Any]:
    return {
        "serverId": one.node_id,
        "model": one.model,
        "dialect": one.dialect,
        "phase": one.phase,
        "startTime": _ms(one.started + clock_offset),
        "duration": _span(one.ended - one.started) if one.ended else None,
        "status": one.status,
        "error": one.error or None,
        "errorType": one.kind or None,
    }


def _node(gateway: Gateway, node_id: str, exchanges: list[Exchange], content: bool) -> dict[str, Any]:
    node = gateway.fleet.get(node_id)
    regular: Counter[str] = Counter()
    bypass: Counter[str] = Counter()
    for exchange in exchanges:
        (bypass if exchange.bypass else regular)[exchange.catalogue_model] += 1
    requests = [_request(exchange, content) for exchange in exchanges]
    return {
        "serverId": node_id,
        "serverUrl": node.spec.url if node is not None else None,
        "healthy": node is not None and node.healthy,
        "total": len(exchanges),
        "byModel": {
            model: {"regular": regular[model], "bypass": bypass[model]} for model in sorted({*regular, *bypass})
        },
        "streamingRequests": [one for one in requests if one["streaming"]],
        "requests": [one for one in requests if not one["streaming"]],
    }


def _request(exchange: Exchange, content: bool) -> dict[str, Any]:
    gateway = exchange.gateway
    now, stall = gateway.clock.now, gateway.limits.stall
    begun = bool(exchange.first_byte_at)
    last = min(exchange.wait_until - stall, now) if begun else 0.0
    offset = gateway.clock.epoch - now
    shown = {
        "id": exchange.id,
        "serverId": exchange.node.id if exchange.node is not None else "",
        "model": exchange.catalogue_model,
        "principal": exchange.principal.name,
        "startTime": _ms(exchange.started + offset),
        "elapsed": _span(now - exchange.started),
        "streaming": exchange.stream,
        "chunkCount": exchange.tokens_seen,
        "lastChunkTime": _ms(last + offset) if begun else None,
        "isStalled": begun and now >= exchange.wait_until,
        "protocol": exchange.endpoint.dialect.value,
        "endpoint": exchange.endpoint.path,
        "handoffCount": exchange.continuations,
        "hasReceivedFirstChunk": begun,
        "bypass": exchange.bypass,
        "attempts": len(exchange.attempts),
    }
    return shown | _content(exchange) if content else shown


def _content(exchange: Exchange) -> dict[str, Any]:
    """What the client asked and what it has been told, where that is kept (`streaming.continuation`). A body too large
    to be worth decoding for a look is only measured."""
    found: dict[str, Any] = {}
    if isinstance(exchange.relay, Streamed):
        found["accumulatedText"] = exchange.relay.text
    if len(exchange.body) > MAX_SHOWN:
        return found | {"promptBytes": len(exchange.body)}
    body = whole(exchange.body)
    found |= {"originalPrompt": body.get("prompt", body.get("input")), "originalMessages": body.get("messages")}
    return {name: value for name, value in found.items() if value is not None}


def _waiting(gateway: Gateway, exchange: Exchange, item: dict[str, Any], now: float, position: int) -> dict[str, Any]:
    offset = gateway.clock.epoch - now
    deadline = item["deadline"]
    return {
        "id": exchange.id,
        "model": exchange.catalogue_model,
        "priority": item["priority"],
        "enqueueTime": _ms(item["enqueue_time"] + offset),
        "deadline": _ms(deadline + offset) if deadline is not None else None,
        "waitTime": _span(item["wait_time"]),
        "endpoint": exchange.endpoint.path,
        "clientId": exchange.principal.name,
        "position": position,
    }


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _span(seconds: float) -> float:
    return round(seconds * 1000, 1)
