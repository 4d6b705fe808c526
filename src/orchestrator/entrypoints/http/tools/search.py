"""Search over tools and artifacts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import Forbidden
from orchestrator.entrypoints.http.artifacts.view import view as artifact_view
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, service_of, tasks_router
from orchestrator.entrypoints.http.tools.view import tool_view
from orchestrator.ports.meanings import ThingKind
from orchestrator.services.registry.search import Hit, SearchMode

router = tasks_router("search")
READ = requires(Permission.TOOLS_READ)
MOST_FOUND = 100


@router.get("/search")
async def search(
    request: Request,
    q: Annotated[str, Query(min_length=1, max_length=1_000, description="Words, or a question.")],
    kind: ThingKind | None = None,
    mode: SearchMode = SearchMode.BOTH,
    limit: Annotated[int, Query(ge=1, le=MOST_FOUND)] = 20,
    principal: Principal = READ,
) -> Response:
    """Tools and artifacts, the best first. `mode`: `text` finds words (all occur, the last one is the beginning of a
    word, quotes keep words together), `meaning` what is near in the space of an embedding model of the fleet, `both`
    puts the two rankings together; without such a model it is `text`, and `note` says why. `results` have `kind`, `id`,
    `score` and the `tool` or `artifact`. Artifacts need `artifacts.read`, too. 409 where only meaning is wanted and
    there is no embedding model, 502 or 503 where it does not answer."""
    kinds = {kind} if kind is not None else set(ThingKind)
    if not allowed(principal, Permission.ARTIFACTS_READ):
        if kind is ThingKind.ARTIFACT:
            raise Forbidden("This key may not read artifacts.")
        kinds.discard(ThingKind.ARTIFACT)
    found = await service_of(request).search.find(q, kinds, mode, limit)
    results = [_shown(hit) for hit in found.hits]
    named = {"results": results, "mode": found.mode.value, "model": found.model or None, "note": found.note or None}
    return answer(request, named)


def _shown(hit: Hit) -> dict[str, Any]:
    shown: dict[str, Any] = {"kind": hit.kind.value, "id": hit.id, "score": round(hit.score, 6)}
    if hit.tool is not None:
        return shown | {"name": hit.tool.name, "tool": tool_view(hit.tool)}
    if hit.artifact is not None:
        return shown | {"name": hit.artifact.file_name, "artifact": artifact_view(hit.artifact)}
    return shown
