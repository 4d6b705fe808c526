"""Calls of tools: what became of them. Those of other principals are seen by who may read prompts or approve calls."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.storable import INTEGER_LIMIT
from orchestrator.domain.tool_call import CallQuery, CallState
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, service_of, tasks_router
from orchestrator.entrypoints.http.tools.view import call_item, call_view

router = tasks_router("tool calls")
READ, CALL = requires(Permission.TOOLS_READ), requires(Permission.TOOLS_CALL)
SEE = requires(Permission.TOOLS_READ, Permission.TOOLS_APPROVE)  # who decides about calls looks at them
MOST_LISTED = 1_000
LONGEST_WAIT = 30.0  # seconds
Text = Annotated[str, Query(max_length=512)]


@router.get("/tool-calls")
async def list_calls(
    request: Request,
    state: CallState | None = None,
    tool: Annotated[str, Query(max_length=512, description="Id or name.")] = "",
    principal_id: Text = "",
    task_id: Text = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    skip: Annotated[int, Query(ge=0, lt=INTEGER_LIMIT)] = 0,
    principal: Principal = READ,
) -> Response:
    """Calls without their results, newest first. `total` counts all that fit. One's own, and all with `prompts.read` or
    `tools.approve`. 403 for another principal's, 404 for a `tool` that is none."""
    calls = service_of(request).tool_calls
    wanted = CallQuery(
        state=state,
        tool_id=(await service_of(request).catalogue.find(tool)).tool_id if tool else None,
        principal=principal_id or None,
        task=task_id or None,
    )
    found = [call_item(one) for one in await calls.page(wanted, limit, skip, principal)]
    total = await calls.count(wanted, principal)
    return answer(request, {"calls": found, "total": total, "limit": limit, "skip": skip})


@router.get("/tool-calls/{call_id}")
async def show(
    request: Request,
    call_id: str,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0,
    principal: Principal = SEE,
) -> Response:
    """One call with its result. With `wait` the answer comes when it has ended, at the latest after so many seconds
    (up to 30). 404, also for another principal's."""
    service = service_of(request)
    call = await service.tool_calls.ended(call_id, principal, wait, service.stopping)
    return answer(request, {"call": call_view(call)})


@router.post("/tool-calls/{call_id}/cancel")
async def cancel(request: Request, call_id: str, principal: Principal = CALL) -> Response:
    """Ends a call that runs or waits for approval. What it did until then is not undone. 404, 409 for one that
    has ended."""
    call = await service_of(request).tool_calls.cancel(call_id, principal)
    audit(principal, "tool_call.cancel", call_id, tool=call.tool_name)
    return answer(request, {"call": call_view(call)}, message="Call cancelled")
