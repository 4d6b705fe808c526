"""The list of models, as OpenAI's clients read it and as Anthropic's do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from orchestrator.domain.access import Permission, Principal, may_use_model
from orchestrator.domain.errors import ModelNotFound
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.services.fleet.fleet import Fleet

router = APIRouter(tags=["models"], route_class=LateRoute)

# A key that may do nothing but inference sees the models that it may use.
LISTS_MODELS = requires(Permission.MODELS_READ, Permission.INFERENCE_USE)
PAGE = 1000


def service_of(request: Request) -> HttpService:
    service: HttpService = request.app.state.service
    return service


def servable(fleet: Fleet) -> Callable[[str, str], bool]:
    """Whether a node may serve a model now: healthy, not draining, not banned, its breakers not open."""

    def visible(node_id: str, model: str) -> bool:
        node = fleet.get(node_id)
        return node is not None and fleet.rejection(node, model) is None

    return visible


def permitted(fleet: Fleet, principal: Principal, name: str) -> bool:
    """Whether a key may use a model of the lists, which may be an alias."""
    if not principal.models:
        return True
    try:
        names = fleet.resolve(name).names
    except ModelNotFound:
        names = ()
    return may_use_model(principal, name, names)


def _rows(request: Request, principal: Principal) -> list[dict[str, Any]]:
    fleet = service_of(request).fleet
    return [row for row in fleet.catalogue.models(servable(fleet)) if permitted(fleet, principal, row["id"])]


@router.get("/v1/models")
async def models(
    request: Request,
    principal: Principal = LISTS_MODELS,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
    after_id: str = "",
    before_id: str = "",
) -> dict[str, Any]:
    """The models that this key may use and that some node can serve now: `{object: "list", data: [{id, object, created
    (seconds since the epoch), owned_by (a server), servers, ...}]}`.

    With the header `anthropic-version` Anthropic's form: `{data: [{type, id, display_name, created_at}], has_more,
    first_id, last_id}`, a page of `limit` models after `after_id` or before `before_id`.
    """
    rows = _rows(request, principal)
    if "anthropic-version" not in request.headers:
        return {"object": "list", "data": rows}
    page, more = _page(rows, limit, after_id, before_id)
    return {
        "data": [_anthropic(row) for row in page],
        "has_more": more,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


@router.get("/v1/models/{model:path}")
async def model(request: Request, model: str, principal: Principal = LISTS_MODELS) -> dict[str, Any]:
    """One row of the list above. 404 for a model that is not in it."""
    fleet = service_of(request).fleet
    wanted = {model, fleet.resolve(model).name}
    row = next((row for row in _rows(request, principal) if row["id"] in wanted), None)
    if row is None:
        raise ModelNotFound(f"model '{model}' not found", details={"model": model})
    return _anthropic(row) if "anthropic-version" in request.headers else row


def _page(rows: list[dict[str, Any]], limit: int, after_id: str, before_id: str) -> tuple[list[dict[str, Any]], bool]:
    """One page, and whether there are more in its direction. An unknown id begins at the list's end of that side."""
    ids = [row["id"] for row in rows]
    if before_id:
        end = ids.index(before_id) if before_id in ids else len(rows)
        return rows[max(0, end - limit) : end], end > limit
    start = ids.index(after_id) + 1 if after_id in ids else 0
    return rows[start : start + limit], start + limit < len(rows)


def _anthropic(row: dict[str, Any]) -> dict[str, Any]:
    created = datetime.fromtimestamp(row["created"], UTC).isoformat().replace("+00:00", "Z")
    return {"type": "model", "id": row["id"], "display_name": row["id"], "created_at": created}
