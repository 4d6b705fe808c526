"""Webhooks: the POSTs that tell clients of their tasks' ends. Times in seconds since the epoch."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.webhook import DeliveryState, Webhook
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, service_of, tasks_router
from orchestrator.settings.mask import mask_url

router = tasks_router("webhooks")
READ, WRITE = requires(Permission.TASKS_READ), requires(Permission.TASKS_WRITE)
MOST_LISTED = 1_000


@router.get("/webhooks")
async def list_webhooks(
    request: Request,
    state: DeliveryState | None = None,
    task_id: Annotated[str, Query(max_length=200)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    principal: Principal = READ,
) -> Response:
    """Deliveries, newest first. They are kept for a week after their end."""
    page = await service_of(request).webhooks.page(state, task_id, limit, offset)
    found = [view(webhook) for webhook in page]
    return answer(request, {"webhooks": found, "count": len(found), "limit": limit, "offset": offset})


@router.post("/webhooks/{webhook_id}/replay")
async def replay(request: Request, webhook_id: str, principal: Principal = WRITE) -> Response:
    """Delivers once more what was delivered or given up; one that is pending goes on as it is. 404."""
    webhook = await service_of(request).webhooks.replay(webhook_id)
    audit(principal, "webhook.replay", webhook_id)
    return answer(request, {"webhook_id": webhook_id, "webhook": view(webhook)})


def view(webhook: Webhook) -> dict[str, Any]:
    return {
        "webhook_id": webhook.id,
        "task_id": webhook.task,
        "url": mask_url(webhook.url),
        "state": webhook.state.value,
        "attempts": webhook.attempts,
        "created_at": webhook.created_at,
        "next_attempt_at": webhook.next_at if webhook.state is DeliveryState.PENDING else None,
        "last_status": webhook.last_status,
        "last_error": webhook.last_error or None,
        "done_at": webhook.done_at,
    }
