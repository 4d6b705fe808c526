"""The hosts that tools connect to."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.breaker import Breaker
from orchestrator.domain.storable import INTEGER_LIMIT
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, service_of, tasks_router

router = tasks_router("tools")
READ = requires(Permission.TOOLS_READ)


@router.get("/tool-hosts")
async def list_tool_hosts(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    skip: Annotated[int, Query(ge=0, lt=INTEGER_LIMIT)] = 0,
    principal: Principal = READ,
) -> Response:
    """Hosts that tools of the kind `http` have connected to since the start of this process, with their breakers; those
    that are left alone come first. `total` counts all."""
    service = service_of(request)
    now, found = service.clock.wall(), service.tool_hosts.all()
    shown = [host_view(one, now) for one in found[skip : skip + limit]]
    return answer(request, {"hosts": shown, "total": len(found), "limit": limit, "skip": skip})


def host_view(breaker: Breaker, now: float) -> dict[str, Any]:
    """`reason` says why it is in its state, `last_failure` what went wrong last; `time_left` until it is tried."""
    return {
        "host": breaker.node,
        "state": breaker.state.value,
        "reason": breaker.reason or None,
        "time_left": breaker.time_left(now),
        "failures": breaker.failure_total,
        "last_failure": breaker.last_failure_reason or None,
    }
