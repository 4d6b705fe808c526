"""What tasks wrote to their logs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import Forbidden
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, service_of, tasks_router
from orchestrator.ports.task_logs import LogLine

router = tasks_router("tasks")
READ = requires(Permission.TASKS_READ)
MOST_LISTED = 1_000


@router.get("/tasks/{task_id}/logs")
async def list_logs(
    request: Request,
    task_id: str,
    after: Annotated[int, Query(ge=0, lt=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    principal: Principal = READ,
) -> Response:
    """The log lines of a task behind the line `after`, oldest first. `next` is what to give as `after` next time,
    `dropped` how many of its first lines are no longer kept, `finished` whether more can come. 403 for another
    principal's task without prompts.read; 404."""
    service = service_of(request)
    task = await service.tasks.get(task_id)
    if task.spec.principal != principal.id and not allowed(principal, Permission.PROMPTS_READ):
        raise Forbidden(f"Task '{task_id}' is another principal's.")
    page = await service.task_logs.page(task_id, after, limit)
    behind = page.lines[-1].number if page.lines else max(after, page.dropped)
    named = {
        "task_id": task_id,
        "logs": [_line(line) for line in page.lines],
        "next": behind,
        "last": page.last,
        "dropped": page.dropped,
        "finished": task.state.finished and behind >= page.last,
    }
    return answer(request, named)


def _line(line: LogLine) -> dict[str, Any]:
    return {
        "number": line.number,
        "at": line.at,
        "attempt": line.attempt,
        "level": line.level,
        "message": line.message,
    }
