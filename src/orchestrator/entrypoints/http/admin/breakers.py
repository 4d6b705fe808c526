"""Circuit breakers of servers and of models on servers. Times are ms since the epoch, 0 = never.

States are upper-case (`OPEN`, `CLOSED`, `HALF-OPEN`) in the list and in answers to force, lower-case in `stats`, as in
the fleet contract. A model `server` stands for the server's own breaker.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request
from pydantic import Field

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.breaker import Breaker, BreakerState
from orchestrator.domain.errors import ModelNotFound, NotFound
from orchestrator.entrypoints.http.admin.route import Body, admin_router, audit, milliseconds, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.services.gateway.score import scores

router = admin_router("circuit breakers")
READ, WRITE = requires(Permission.BREAKERS_READ), requires(Permission.BREAKERS_WRITE)
OF_SERVER = "server"
_TIMES = ("last_failure", "last_success", "next_retry_at", "opened_at", "half_open_started_at")
_NAMES = {
    "failure_count": "failureCount",
    "success_count": "successCount",
    "total_request_count": "totalRequestCount",
    "blocked_request_count": "blockedRequestCount",
    "error_rate": "errorRate",
    "error_counts": "errorCounts",
    "consecutive_successes": "consecutiveSuccesses",
    "half_open_attempts": "halfOpenAttempts",
    "active_tests_in_progress": "activeTestsInProgress",
    "window_requests": "windowRequests",
    "open_count": "openCount",
    "threshold": "threshold",
    "forced": "forced",
    "reason": "reason",
    "last_failure": "lastFailure",
    "last_success": "lastSuccess",
    "next_retry_at": "nextRetryAt",
    "opened_at": "openedAt",
    "half_open_started_at": "halfOpenStartedAt",
}


class Forced(Body):
    """`durationMs`: how long a breaker stays open; absent: until an operator's next word."""

    duration_ms: int | None = Field(None, ge=1, le=366 * 24 * 3600 * 1000)


@router.get("/circuit-breakers")
async def list_breakers(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """All breakers. `serverId` is the key: `server`, or `server:model`. `lbScore` null where the model may not run."""
    service = service_of(request)
    rated: dict[str, dict[str, dict[str, float]]] = {}
    shown = []
    for (node_id, model), breaker in list(service.fleet.breakers().items()):
        if model and model not in rated:
            rated[model] = scores(service.gateway, model)
            await asyncio.sleep(0)  # a large fleet must not hold up the data plane
        score = rated[model].get(node_id) if model else None
        shown.append(
            {"serverId": breaker.key, "serverIdOnly": node_id, "model": model}
            | fields(breaker, service.clock.epoch, upper=True)
            | {"lbScore": score}
        )
    return {"success": True, "count": len(shown), "circuitBreakers": shown}


@router.get("/circuit-breakers/{server_id}")
async def get_server_breaker(request: Request, server_id: str, principal: Principal = READ) -> dict[str, Any]:
    """The server's own breaker and those of its models. 404."""
    service = service_of(request)
    node = service.registry.node(server_id)
    now = service.clock.epoch
    return {
        "success": True,
        "serverId": server_id,
        "stats": fields(node.breaker, now),
        "models": {model: fields(pair.breaker, now) for model, pair in sorted(node.pairs.items())},
    }


@router.get("/circuit-breakers/{server_id}/{model:path}")
async def get_breaker(request: Request, server_id: str, model: str, principal: Principal = READ) -> dict[str, Any]:
    """One breaker; `history` are its last changes. 404 for an unknown server, or a model that it does not have."""
    service = service_of(request)
    breaker = find(service, server_id, model)
    score = scores(service.gateway, breaker.model).get(server_id) if breaker.model else None
    return {
        "success": True,
        "key": breaker.key,
        "serverId": server_id,
        "model": breaker.model or OF_SERVER,
        "stats": fields(breaker, service.clock.epoch),
        "history": [
            {
                "timestamp": milliseconds(one.at),
                "previousState": word(one.previous),
                "newState": word(one.state),
                "reason": one.reason,
            }
            for one in breaker.history
        ],
        "lbScore": None if score is None else _components(score),
    }


@router.get("/servers/{server_id}/models/{model:path}/circuit-breaker")
async def get_model_breaker(
    request: Request, server_id: str, model: str, principal: Principal = READ
) -> dict[str, Any]:
    """One model's breaker on one server. 404 as above."""
    service = service_of(request)
    breaker = find(service, server_id, model)
    shown = _forced(service, breaker)
    shown["errorRatePercent"] = round(shown["errorRate"] * 100, 2)
    return {"success": True, "serverId": server_id, "model": breaker.model or OF_SERVER, "circuitBreaker": shown}


@router.post("/circuit-breakers/{server_id}/reset")
async def reset_server_breakers(request: Request, server_id: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Closes the server's breaker and those of all its models, and forgets their counts. 404."""
    service = service_of(request)
    node = service.registry.node(server_id)
    tested = service.recovery_tests.cancel(server_id)
    before, cancelled = await service.registry.reset(server_id, "")
    for model in list(node.pairs):
        cancelled += (await service.registry.reset(server_id, model))[1]
    audit(principal, "breaker.reset", server_id, models=len(node.pairs))
    return {
        "success": True,
        "message": f"Circuit breakers of {server_id} and its {len(node.pairs)} models are reset",
        "previousState": word(before),
        "currentState": "closed",
        "testCancelled": tested or cancelled > 0,
        "reset": 1 + len(node.pairs),
    }


@router.post("/circuit-breakers/{server_id}/{model:path}/reset")
async def reset_breaker(request: Request, server_id: str, model: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Closes a breaker, forgets its counts, and ends the model's rest on this server. 404."""
    service = service_of(request)
    breaker = find(service, server_id, model)
    tested = service.recovery_tests.cancel(server_id, breaker.model)
    before, cancelled = await service.registry.reset(server_id, breaker.model)
    audit(principal, "breaker.reset", breaker.key)
    return {
        "success": True,
        "message": f"Circuit breaker {breaker.key} is reset",
        "previousState": word(before),
        "currentState": "closed",
        "testCancelled": tested or cancelled > 0,
    }


@router.post("/circuit-breakers/{server_id}/{model:path}/open")
async def open_breaker(
    request: Request, server_id: str, model: str, body: Forced | None = None, principal: Principal = WRITE
) -> dict[str, Any]:
    """Keeps traffic away for `durationMs`, or until an operator's next word. 404."""
    milliseconds_open = body.duration_ms if body is not None else None
    seconds = milliseconds_open / 1000 if milliseconds_open is not None else None
    return await force(request, server_id, model, BreakerState.OPEN, principal, seconds)


@router.post("/circuit-breakers/{server_id}/{model:path}/close")
async def close_breaker(request: Request, server_id: str, model: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Lets traffic through; the counts stay. 404."""
    return await force(request, server_id, model, BreakerState.CLOSED, principal)


@router.post("/circuit-breakers/{server_id}/{model:path}/half-open")
async def half_open_breaker(
    request: Request, server_id: str, model: str, principal: Principal = WRITE
) -> dict[str, Any]:
    """Lets trial requests through. 404."""
    return await force(request, server_id, model, BreakerState.HALF_OPEN, principal)


async def force(
    request: Request,
    server_id: str,
    model: str,
    state: BreakerState,
    principal: Principal,
    seconds: float | None = None,
) -> dict[str, Any]:
    service = service_of(request)
    found = find(service, server_id, model)
    breaker = await service.registry.force(server_id, found.model, state, seconds)
    audit(principal, f"breaker.{word(state)}", breaker.key, seconds=seconds)
    return {
        "success": True,
        "message": f"Circuit breaker {breaker.key} is forced {word(state)}",
        "circuitBreaker": _forced(service, breaker),
    }


def find(service: HttpService, server_id: str, model: str) -> Breaker:
    """The breaker that a path names. Raises NotFound; a name that nobody knows makes no breaker."""
    node = service.registry.node(server_id)
    if model == OF_SERVER:
        return node.breaker
    if model in node.pairs:
        return node.pairs[model].breaker
    try:
        names = service.fleet.resolve(model).names
    except ModelNotFound:
        names = ()
    for name in names:
        if name in node.pairs or service.fleet.name_on(node, name) is not None:
            return service.registry.breaker(server_id, name)
    raise NotFound(f"Circuit breaker for '{server_id}:{model}' not found")


def word(state: BreakerState, *, upper: bool = False) -> str:
    """The contract's word for a state."""
    name = state.value.replace("_", "-")
    return name.upper() if upper else name


def fields(breaker: Breaker, now: float, *, upper: bool = False) -> dict[str, Any]:
    """The contract's fields of a breaker. `timeLeft` in ms, null while only an operator can end it."""
    seen = breaker.snapshot(now)
    left = seen["time_left"]
    return {
        "state": word(breaker.state, upper=upper),
        **{name: milliseconds(seen[key]) if key in _TIMES else seen[key] for key, name in _NAMES.items()},
        "lastFailureReason": seen["last_failure_reason"] or None,
        "lastErrorType": seen["last_error_type"] or None,
        "timeLeft": None if left is None else milliseconds(left),
    }


def _forced(service: HttpService, breaker: Breaker) -> dict[str, Any]:
    return {"name": breaker.key} | fields(breaker, service.clock.epoch, upper=True)


def _components(score: dict[str, float]) -> dict[str, Any]:
    parts = {name.removesuffix("Score"): value for name, value in score.items() if name != "totalScore"}
    return {"total": score["totalScore"], "components": parts}
