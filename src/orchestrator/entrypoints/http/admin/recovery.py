"""How servers come back: attempts that failed, what they tell, and tests of half-open breakers.

Times are ms since the epoch, durations ms. All figures are of a server's last 200 attempts and its breakers' last 200
changes, kept in memory since the start or the last reset.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import Query, Request

from orchestrator.domain import recovery
from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.breaker_record import split_key
from orchestrator.domain.recovery import AttemptOutcome, BreakerChange, RecoveryAttempt
from orchestrator.entrypoints.http.admin.breakers import OF_SERVER, find, word
from orchestrator.entrypoints.http.admin.route import admin_router, audit, milliseconds, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.services.fleet.recovery import failures

router = admin_router("recovery")
READ, WRITE = requires(Permission.BREAKERS_READ), requires(Permission.BREAKERS_WRITE)
DAY, HOUR, YEAR = 86_400_000, 3_600_000, 366 * 86_400_000
TOP = 10
Limit = Annotated[int, Query(ge=1, le=10_000)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]
Window = Annotated[int, Query(alias="windowMs", ge=1, le=YEAR)]


@router.get("/recovery-failures")
async def summary(request: Request, window: Window = DAY, principal: Principal = READ) -> dict[str, Any]:
    """The attempts of the last `windowMs` at all servers. `overallFailureRate` is 0 to 1."""
    service = service_of(request)
    now = service.clock.epoch
    start = now - window / 1000
    failing: Counter[str] = Counter()
    types: Counter[str] = Counter()
    attempts = persistent = 0
    for node_id in service.fleet.nodes:
        told = [one for one in service.recoveries.of(node_id).attempts if one.at >= start]
        found = recovery.stats(told, now)
        attempts += found.attempts
        persistent += found.pattern is recovery.Pattern.PERSISTENT
        failing[node_id] += found.failures
        types.update(one.error_type for one in failures(told))
    failed = failing.total()
    return {
        "success": True,
        "totalServers": len(service.fleet.nodes),
        "serversWithFailures": sum(count > 0 for count in failing.values()),
        "serversWithPersistentFailures": persistent,
        "totalRecoveryAttempts": attempts,
        "totalFailures": failed,
        "overallFailureRate": round(failed / attempts, 4) if attempts else 0.0,
        "topFailingServers": [
            {"serverId": node_id, "failureCount": count} for node_id, count in failing.most_common(TOP) if count
        ],
        "commonErrorTypes": dict(types.most_common()),
        "timeRange": {"start": milliseconds(start), "end": milliseconds(now)},
    }


@router.get("/recovery-failures/stats/all")
async def all_stats(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """Every server that has attempts, as the next but one shows it."""
    service = service_of(request)
    told = [_stats(service, node_id) for node_id in service.fleet.nodes if service.recoveries.of(node_id).attempts]
    return {"success": True, "count": len(told), "servers": told}


@router.get("/recovery-failures/recent")
async def recent(request: Request, limit: Limit = 100, principal: Principal = READ) -> dict[str, Any]:
    """The last failures of all servers, newest first."""
    service = service_of(request)
    found = [one for node_id in service.fleet.nodes for one in failures(service.recoveries.of(node_id).attempts)]
    found.sort(key=lambda one: one.at, reverse=True)
    return {"success": True, "count": len(found[:limit]), "records": [_attempt(one) for one in found[:limit]]}


@router.get("/recovery-failures/{server_id}")
async def of_server(request: Request, server_id: str, principal: Principal = READ) -> dict[str, Any]:
    """A server's figures; zeros and nulls where nothing was attempted. 404 for an unknown server."""
    service = service_of(request)
    service.registry.node(server_id)
    return {"success": True, **_stats(service, server_id)}


@router.get("/recovery-failures/{server_id}/history")
async def history(
    request: Request, server_id: str, limit: Limit = 100, offset: Offset = 0, principal: Principal = READ
) -> dict[str, Any]:
    """A server's failures, newest first. `total` is how many there are. 404 for an unknown server."""
    service = service_of(request)
    service.registry.node(server_id)
    found = failures(service.recoveries.of(server_id).attempts)[::-1]
    shown = [_attempt(one) for one in found[offset : offset + limit]]
    return {
        "success": True,
        "serverId": server_id,
        "count": len(shown),
        "total": len(found),
        "limit": limit,
        "offset": offset,
        "history": shown,
    }


@router.get("/recovery-failures/{server_id}/analysis")
async def analysis(
    request: Request, server_id: str, window: Window = HOUR, principal: Principal = READ
) -> dict[str, Any]:
    """What the attempts of the last `windowMs` tell. `predictedNextFailure` null: nothing tells of one. 404 for an
    unknown server."""
    service = service_of(request)
    service.registry.node(server_id)
    told = recovery.analyse(service.recoveries.of(server_id).attempts, service.clock.epoch, window / 1000)
    return {
        "success": True,
        "windowMs": window,
        "serverId": server_id,
        "pattern": told.pattern.value,
        "trend": told.trend.value,
        "confidence": told.confidence,
        "predictedNextFailure": _time(told.next_failure),
        "recommendations": list(told.recommendations),
    }


@router.get("/recovery-failures/{server_id}/circuit-breaker-impact")
async def breaker_impact(request: Request, server_id: str, principal: Principal = READ) -> dict[str, Any]:
    """What its breakers cost a server. `modelLevelIssues` is the number of its models whose breakers opened. 404 for an
    unknown server."""
    service = service_of(request)
    service.registry.node(server_id)
    told = recovery.impact(service.recoveries.of(server_id).changes)
    return {
        "success": True,
        "serverId": server_id,
        "isImpacted": told.impacted,
        "totalTransitions": told.changes,
        "openTransitions": told.openings,
        "openToHealthyRatio": told.open_to_closed,
        "averageTimeInOpenState": milliseconds(told.open_seconds),
        "modelLevelIssues": told.models,
        "recommendations": list(told.recommendations),
    }


@router.get("/recovery-failures/{server_id}/circuit-breaker-transitions")
async def breaker_transitions(
    request: Request, server_id: str, model: str | None = None, limit: Limit = 100, principal: Principal = READ
) -> dict[str, Any]:
    """The last changes of a server's breakers, newest first; `model` `server`: of its own one only. 404 for an unknown
    server, or a model that it does not have."""
    service = service_of(request)
    service.registry.node(server_id)
    name = find(service, server_id, model).model if model is not None else None
    changes = [one for one in service.recoveries.of(server_id).changes if name in (None, one.model)][: -limit - 1 : -1]
    return {
        "success": True,
        "serverId": server_id,
        "model": model,
        "count": len(changes),
        "transitions": [_change(one) for one in changes],
    }


@router.post("/recovery-failures/{server_id}/reset")
async def forget(request: Request, server_id: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Forgets a server's attempts and changes; its breakers stay as they are. 404."""
    service = service_of(request)
    service.registry.node(server_id)
    count = service.recoveries.reset(server_id)
    audit(principal, "recovery.reset", server_id, attempts=count)
    return {"success": True, "message": f"Recovery record of {server_id} is reset", "removed": count}


# Tests


@router.post("/servers/{server_id}/models/{model:path}/recovery-test")
async def make_test(request: Request, server_id: str, model: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Tests a half-open breaker now, with one token, and loads the model if need be; `server`: the server's own, with a
    probe. Waits for the end. A pass counts as a successful trial. 200 with `success` false when the test failed or
    could not be made, 404 for an unknown server or model."""
    service = service_of(request)
    breaker = find(service, server_id, model)
    audit(principal, "breaker.test", breaker.key)
    found = await service.recovery_tests.test(service.registry.node(server_id), breaker.model)
    service.gateway.admitting.pump()
    state = word(breaker.state)
    if found.ok:
        return {"success": True, "message": f"Recovery test of {breaker.key} passed", "breakerState": state}
    message = f"Recovery test of {breaker.key} did not pass"
    return {"success": False, "error": found.error, "breakerState": state, "message": message}


@router.get("/metrics/recovery-tests")
async def recovery_tests(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """The tests of all breakers that are kept. A probability is the share of the last 20 that passed."""
    service = service_of(request)
    tests = service.recoveries.tests()
    told = [one for found in tests.values() for one in found]
    count = Counter(one.outcome for one in told)
    timed = [one.seconds for one in told if one.seconds is not None and one.outcome is not AttemptOutcome.CANCELLED]
    chances = {_key(*pair): recovery.probability(found) for pair, found in tests.items()}
    return {
        "success": True,
        "timestamp": milliseconds(service.clock.epoch),
        "aggregate": {
            "totalTests": len(told),
            "successes": count[AttemptOutcome.SUCCESS],
            "failures": count[AttemptOutcome.FAILURE],
            "timeouts": count[AttemptOutcome.TIMEOUT],
            "cancellations": count[AttemptOutcome.CANCELLED],
            "averageDuration": milliseconds(sum(timed) / len(timed)) if timed else 0,
        },
        "recoveryProbabilities": {key: chance for key, chance in chances.items() if chance is not None},
    }


@router.get("/metrics/recovery-tests/{name:path}")
async def of_breaker(request: Request, name: str, principal: Principal = READ) -> dict[str, Any]:
    """The tests of one breaker, `server` or `server:model`, newest first; `recoveryProbability` -1 without any. 404 for
    an unknown one."""
    service = service_of(request)
    server_id, model = split_key(name)
    breaker = find(service, server_id, model or OF_SERVER)
    found = service.recoveries.tests().get((breaker.node, breaker.model), [])
    chance = recovery.probability(found)
    return {
        "success": True,
        "timestamp": milliseconds(service.clock.epoch),
        "breakerName": breaker.key,
        "metrics": [
            {
                "timestamp": milliseconds(one.at),
                "outcome": one.outcome.value,
                "success": one.outcome is AttemptOutcome.SUCCESS,
                "duration": None if one.seconds is None else milliseconds(one.seconds),
                "error": one.error or None,
            }
            for one in reversed(found)
        ],
        "recoveryProbability": -1 if chance is None else chance,
        "totalTests": len(found),
    }


def _stats(service: HttpService, node_id: str) -> dict[str, Any]:
    record = service.recoveries.of(node_id)
    told, cost = recovery.stats(record.attempts, service.clock.epoch), recovery.impact(record.changes)
    gap = told.time_between_failures
    return {
        "serverId": node_id,
        "totalRecoveryAttempts": told.attempts,
        "successfulRecoveries": told.successes,
        "failedRecoveries": told.failures,
        "currentConsecutiveFailures": told.failures_in_a_row,
        "lastRecoveryAttempt": _time(told.last_attempt),
        "lastSuccessfulRecovery": _time(told.last_success),
        "failureRate": round(told.failure_rate, 4),
        "averageTimeBetweenFailures": 0 if gap is None else milliseconds(gap),
        "pattern": told.pattern.value,
        "circuitBreakerImpact": {
            "totalTransitions": cost.changes,
            "openStateContributions": cost.openings,
            "lastTransition": _time(cost.last.at if cost.last is not None else None),
            "lastOpenReason": cost.last_opening.reason if cost.last_opening is not None else None,
        },
        "lastFailureReason": told.last_error or None,
        "firstRecordedFailure": _time(told.first_failure),
    }


def _attempt(one: RecoveryAttempt) -> dict[str, Any]:
    return {
        "timestamp": milliseconds(one.at),
        "serverId": one.node,
        "model": one.model or None,
        "error": one.error,
        "errorType": one.error_type,
        "attemptNumber": one.number,
        "consecutiveFailures": one.failures,
        "source": one.source.value,
        "circuitBreakerState": word(one.breaker),
        "responseTime": None if one.seconds is None else milliseconds(one.seconds),
        "metadata": {"outcome": one.outcome.value},
    }


def _change(one: BreakerChange) -> dict[str, Any]:
    return {
        "timestamp": milliseconds(one.at),
        "serverId": one.node,
        "model": one.model or None,
        "previousState": word(one.previous),
        "newState": word(one.state),
        "reason": one.reason,
    }


def _time(seconds: float | None) -> int | None:
    return None if seconds is None else milliseconds(seconds)


def _key(node: str, model: str) -> str:
    return f"{node}:{model}" if model else node
