"""What all administration routes share: their prefix, their limits, their bodies' spelling and the audit trail."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Coroutine
from math import ceil
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from orchestrator.domain.access import Principal, PrincipalKind
from orchestrator.domain.errors import OrchestratorError, RateLimited, Unauthenticated
from orchestrator.domain.limiter import RateLimit, RateVerdict
from orchestrator.entrypoints.http import failure
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.permission import identify
from orchestrator.entrypoints.http.service import HttpService

PREFIX = "/api/orchestrator"
UNLIMITED = frozenset({f"{PREFIX}/health"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_audit = logging.getLogger("orchestrator.audit")


class Body(BaseModel):
    """A request body: camelCase as the fleet contract writes it, or snake_case; unknown names are refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", allow_inf_nan=False)


class AdminRoute(LateRoute):
    """Counts the call against its caller's limits (`security`), and tells the limits in every answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            headers: dict[str, str] = {}
            try:
                if request.scope["path"] not in UNLIMITED:
                    count(request, headers)
                response = await handle(request)
            except OrchestratorError as error:
                response = failure.answer(request, error)
            response.headers.update(headers)
            return response

        return limited


def admin_router(tag: str) -> APIRouter:
    return APIRouter(prefix=PREFIX, tags=[tag], route_class=AdminRoute)


def service_of(request: Request) -> HttpService:
    service: HttpService = request.app.state.service
    return service


def count(request: Request, headers: dict[str, str]) -> None:
    """Counts a call and adds the RateLimit fields to `headers`. Raises RateLimited, and Unauthenticated before a body
    is read; who shows no usable key is counted by address."""
    peer = request.client.host if request.client else ""
    try:
        principal = identify(request)
    except Unauthenticated:
        _take(request, peer, headers)
        raise
    _take(request, peer if principal.kind is PrincipalKind.ANONYMOUS else principal.id, headers)


def _take(request: Request, caller: str, headers: dict[str, str]) -> None:
    service = service_of(request)
    security = service.settings.security
    budgets = [("admin", security.rate_limit_max)]
    if request.method not in _READING:
        budgets.append(("admin write", security.admin_rate_limit_max))
    for name, most in budgets:
        if most is not None:
            limit = RateLimit(most, security.rate_limit_window)
            verdict = service.gateway.limiter.take(f"{name}:{caller}", limit, service.clock.tick())
            headers.update(_fields(limit, verdict))
            if not verdict.allowed:
                raise _refusal(limit, verdict)


def _fields(limit: RateLimit, verdict: RateVerdict) -> dict[str, str]:
    return {
        "RateLimit-Policy": f"{limit.requests};w={ceil(limit.seconds)}",
        "RateLimit-Limit": str(verdict.limit),
        "RateLimit-Remaining": str(verdict.remaining),
        "RateLimit-Reset": str(ceil(verdict.reset)),
    }


def _refusal(limit: RateLimit, verdict: RateVerdict) -> RateLimited:
    wait = max(1, ceil(verdict.retry_after or 1.0))
    message = f"More than {limit.requests} calls within {limit.seconds:g} s. Try again in {wait} s."
    return RateLimited("Too many requests", retry_after=float(wait), details={"message": message, "retryAfter": wait})


def audit(principal: Principal, action: str, target: str = "", **details: Any) -> None:
    """One line for each change that was made: who, what, to what."""
    told = json.dumps(details, default=str) if details else ""
    _audit.info(
        "%s (%s) %s %s %s",
        principal.name,
        principal.id,
        action,
        json.dumps(target),
        told,
        extra={"principal": principal.id, "action": action, "target": target, "details": details},
    )


def milliseconds(seconds: float) -> int:
    """A time since the epoch as the contract writes it."""
    return round(seconds * 1000)
