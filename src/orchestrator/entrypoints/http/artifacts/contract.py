"""The registry contract's artifacts, at the root: rows about bytes that are elsewhere or here. Times in ISO 8601."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.artifact import MAX_NAME, MAX_POINTER, MAX_TYPE, Origin
from orchestrator.domain.storable import INTEGER_LIMIT
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.artifacts.view import contract_view
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.registry.route import (
    LISTED,
    Limit,
    Skip,
    answer,
    both,
    registry_router,
    service_of,
)
from orchestrator.ports.artifacts import ArtifactOrder, ArtifactQuery
from orchestrator.services.artifacts import Described
from orchestrator.services.artifacts.artifacts import LARGE

router = registry_router("registry artifacts")
READ, WRITE = requires(Permission.ARTIFACTS_READ), requires(Permission.ARTIFACTS_WRITE)
Bytes = Annotated[int, Query(ge=0, lt=INTEGER_LIMIT)]


class NewArtifact(BaseModel):
    """What is told of bytes that are elsewhere; they are never fetched."""

    file_name: str = Field(min_length=1, max_length=MAX_NAME)
    mime_type: str = Field(min_length=1, max_length=MAX_TYPE)
    storage_pointer: str = Field(min_length=1, max_length=MAX_POINTER, description="URL or path.")
    size_bytes: int = Field(ge=0, lt=INTEGER_LIMIT)
    created_by_tool_id: UUID | None = None


@both(router, "POST", "/artifacts/")
async def create_artifact(request: Request, body: NewArtifact, principal: Principal = WRITE) -> Response:
    """Registers an artifact by its pointer. The row, with its `artifact_id`. 400 for an unknown tool, 422."""
    tool = str(body.created_by_tool_id) if body.created_by_tool_id is not None else None
    told = Described(body.file_name, body.mime_type, Origin(tool, principal=principal.id), body.size_bytes)
    artifact = await service_of(request).artifacts.register(told, body.storage_pointer)
    audit(principal, "artifact.register", artifact.id, storage_pointer=artifact.pointer[:200])
    return answer(contract_view(artifact))


@both(router, "GET", "/artifacts/")
async def list_artifacts(
    request: Request,
    skip: Skip = 0,
    limit: Limit = LISTED,
    q: Annotated[str, Query(max_length=1_000, description="Words in name, type or origin.")] = "",
    principal: Principal = READ,
) -> Response:
    """Artifacts in the order in which they came; with `q` those that fit it best first."""
    order = ArtifactOrder.RELEVANCE if q.strip() else ArtifactOrder.OLDEST
    return await _page(request, ArtifactQuery(text=q, order=order, limit=limit, offset=skip))


@both(router, "GET", "/artifacts/large/")
async def large_artifacts(
    request: Request,
    threshold: Bytes = LARGE,
    skip: Skip = 0,
    limit: Limit = LISTED,
    principal: Principal = READ,
) -> Response:
    """Artifacts of more than `threshold` bytes, the largest first."""
    query = ArtifactQuery(larger=threshold, order=ArtifactOrder.LARGEST, limit=limit, offset=skip)
    return await _page(request, query)


@both(router, "GET", "/artifacts/tool/{tool_id}")
async def artifacts_of_tool(
    request: Request, tool_id: UUID, skip: Skip = 0, limit: Limit = LISTED, principal: Principal = READ
) -> Response:
    """What a tool has made, in the order in which it came. 422."""
    query = ArtifactQuery(tool=str(tool_id), order=ArtifactOrder.OLDEST, limit=limit, offset=skip)
    return await _page(request, query)


@both(router, "GET", "/artifacts/{artifact_id}")
async def get_artifact(request: Request, artifact_id: UUID, principal: Principal = READ) -> Response:
    """One artifact. 404, 422."""
    return answer(contract_view(await service_of(request).artifacts.get(str(artifact_id))))


@both(router, "DELETE", "/artifacts/{artifact_id}")
async def delete_artifact(request: Request, artifact_id: UUID, principal: Principal = WRITE) -> Response:
    """Deletes an artifact, with the bytes where they are kept here. The row that was. 404, 422."""
    artifacts = service_of(request).artifacts
    artifact = await artifacts.get(str(artifact_id))
    await artifacts.delete(artifact.id)
    audit(principal, "artifact.delete", artifact.id)
    return answer(contract_view(artifact))


async def _page(request: Request, query: ArtifactQuery) -> Response:
    found = await service_of(request).artifacts.page(query)
    return answer([contract_view(one) for one in found])
