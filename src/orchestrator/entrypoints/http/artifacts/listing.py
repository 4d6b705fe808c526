"""Artifacts below /api/v1: found by where they come from, shown, deleted. Times in seconds since the epoch."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.artifact import ArtifactState, read_digest
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.artifacts.view import view
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, service_of, tasks_router
from orchestrator.ports.artifacts import ArtifactOrder, ArtifactQuery

router = tasks_router("artifacts")
READ, WRITE = requires(Permission.ARTIFACTS_READ), requires(Permission.ARTIFACTS_WRITE)
MOST_LISTED, DEEPEST = 1_000, 20
Text = Annotated[str, Query(max_length=512)]


@router.get("/artifacts")
async def list_artifacts(
    request: Request,
    tool_id: Text = "",
    task_id: Text = "",
    run_id: Text = "",
    principal_id: Text = "",
    file_name: Text = "",
    mime_type: Text = "",
    sha256: Text = "",
    input: Text = "",
    state: ArtifactState | None = None,
    larger_than: Annotated[int | None, Query(ge=0)] = None,
    q: Annotated[str, Query(max_length=1_000, description="Words in name, type or origin.")] = "",
    order: ArtifactOrder | None = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    offset: Annotated[int, Query(ge=0, le=100_000_000)] = 0,
    principal: Principal = READ,
) -> Response:
    """Artifacts with all that is asked for; `input` is an artifact that they were made of. Without an
    order the newest come first, with `q` those that fit it best. Uploads that are not complete are not among them."""
    query = ArtifactQuery(
        tool=tool_id.lower(),
        task=task_id,
        run=run_id,
        principal=principal_id,
        file_name=file_name,
        mime_type=mime_type,
        sha256=read_digest(sha256) if sha256 else "",
        input=input.lower(),
        state=state,
        larger=larger_than,
        text=q,
        order=order or (ArtifactOrder.RELEVANCE if q.strip() else ArtifactOrder.NEWEST),
        limit=limit,
        offset=offset,
    )
    found = [view(one) for one in await service_of(request).artifacts.page(query)]
    return answer(request, {"artifacts": found, "count": len(found), "limit": limit, "offset": offset})


@router.get("/artifacts/{artifact_id}")
async def show(request: Request, artifact_id: str, principal: Principal = READ) -> Response:
    """Everything known of one, without its bytes. 404."""
    artifact = await service_of(request).artifacts.get(artifact_id.lower())
    return answer(request, {"artifact": view(artifact)})


@router.delete("/artifacts/{artifact_id}")
async def delete(request: Request, artifact_id: str, principal: Principal = WRITE) -> Response:
    """With its bytes; what an external pointer points to is not touched. 404."""
    await service_of(request).artifacts.delete(artifact_id.lower())
    audit(principal, "artifact.delete", artifact_id)
    return answer(request, {"artifact_id": artifact_id}, message="Artifact deleted")


@router.get("/artifacts/{artifact_id}/lineage")
async def lineage(
    request: Request,
    artifact_id: str,
    depth: Annotated[int, Query(ge=1, le=DEEPEST)] = 1,
    principal: Principal = READ,
) -> Response:
    """Who made it, of which artifacts, and which artifacts were made of it, `depth` steps far; `gone` are inputs that
    no longer exist. `complete` is false where there are over 1,000. 404."""
    found = await service_of(request).artifacts.lineage(artifact_id.lower(), depth)
    shown = view(found.artifact)
    names = ("created_by_tool_id", "task_id", "run_id", "agent_id", "principal")
    named = {
        "artifact": shown,
        "made_by": {name: shown[name] for name in names},
        "inputs": [view(one) for one in found.inputs],
        "outputs": [view(one) for one in found.outputs],
        "gone": found.gone,
        "complete": found.complete,
    }
    return answer(request, named)
