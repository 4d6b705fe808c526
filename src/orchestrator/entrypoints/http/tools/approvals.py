"""The inbox of calls that a person has to agree to."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.storable import INTEGER_LIMIT
from orchestrator.domain.tool_call import CallQuery, CallState
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, service_of, tasks_router
from orchestrator.entrypoints.http.tools.body import ApproveBody, RejectBody, documented, read
from orchestrator.entrypoints.http.tools.view import call_item, call_view

router = tasks_router("approvals")
APPROVE = requires(Permission.TOOLS_APPROVE)
MOST_LISTED = 1_000


@router.get("/approvals")
async def list_approvals(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    skip: Annotated[int, Query(ge=0, lt=INTEGER_LIMIT)] = 0,
    principal: Principal = APPROVE,
) -> Response:
    """Calls that wait for approval, newest first. `total` counts all."""
    wanted, calls = CallQuery(state=CallState.PENDING_APPROVAL), service_of(request).tool_calls
    found = [call_item(one) for one in await calls.page(wanted, limit, skip, principal)]
    return answer(
        request, {"approvals": found, "total": await calls.count(wanted, principal), "limit": limit, "skip": skip}
    )


@router.post("/approvals/{call_id}/approve", openapi_extra=documented(ApproveBody, required=False))
async def approve(request: Request, call_id: str, principal: Principal = APPROVE) -> Response:
    """Lets a call begin. With `arguments` it is made with these instead. 404, 409 for one that
    does not wait, 422 with `details.problems` for arguments that do not fit."""
    body = await read(request, ApproveBody)
    call = await service_of(request).tool_calls.decide(call_id, True, principal, body.reason, body.arguments)
    audit(principal, "tool_call.approve", call_id, tool=call.tool_name, changed=body.arguments is not None)
    return answer(request, {"call": call_view(call)}, message="Call approved")


@router.post("/approvals/{call_id}/reject", openapi_extra=documented(RejectBody, required=False))
async def reject(request: Request, call_id: str, principal: Principal = APPROVE) -> Response:
    """Refuses a call. 404, 409 for one that does not wait."""
    body = await read(request, RejectBody)
    call = await service_of(request).tool_calls.decide(call_id, False, principal, body.reason)
    audit(principal, "tool_call.reject", call_id, tool=call.tool_name)
    return answer(request, {"call": call_view(call)}, message="Call rejected")
