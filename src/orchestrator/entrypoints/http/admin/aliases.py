"""Other names of models."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.alias import Alias
from orchestrator.domain.errors import Conflict, InvalidRequest, ModelNotFound
from orchestrator.entrypoints.http.admin.route import Body, admin_router, audit, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService

router = admin_router("aliases")
READ, WRITE = requires(Permission.MODELS_READ), requires(Permission.MODELS_WRITE)
MAX_NAME = 300

ModelName = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class Targets(Body):
    """A model, or several, best first. `a|b` declares two names to be one model."""

    targets: ModelName | list[ModelName]


@router.get("/aliases")
async def list_aliases(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """All aliases. `models` are those of the catalogue that the alias leads to now; `source` is config or api."""
    service = service_of(request)
    shown = [_alias(service, alias) for alias in service.fleet.aliases.values()]
    return {"success": True, "count": len(shown), "aliases": shown}


@router.put("/aliases/{name:path}")
async def set_alias(request: Request, name: str, body: Targets, principal: Principal = WRITE) -> dict[str, Any]:
    """Adds or replaces an alias. 400, 409 for one that the configuration sets."""
    service = service_of(request)
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidRequest(f"An alias has 1 to {MAX_NAME} printable characters.")
    _ours(service, name)
    alias = Alias(name, (body.targets,) if isinstance(body.targets, str) else tuple(body.targets))
    await service.registry.set_alias(alias)
    audit(principal, "alias.set", name, targets=alias.targets)
    return {"success": True, "alias": _alias(service, alias)}


@router.delete("/aliases/{name:path}")
async def drop_alias(request: Request, name: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Removes an alias. 404 for an unknown one, 409 for one that the configuration sets."""
    service = service_of(request)
    _ours(service, name)
    await service.registry.drop_alias(name)
    audit(principal, "alias.drop", name)
    return {"success": True, "name": name}


def _ours(service: HttpService, name: str) -> None:
    """Aliases of the configuration win at every start, so a change here would not last."""
    if name in service.settings.models.aliases:
        raise Conflict(f"The alias '{name}' is set by models.aliases: change it there (PATCH /config/models).")


def _alias(service: HttpService, alias: Alias) -> dict[str, Any]:
    try:
        models = list(service.fleet.resolve(alias.name).names)
    except ModelNotFound:
        models = []
    return {
        "name": alias.name,
        "targets": list(alias.targets),
        "models": models,
        "source": "config" if alias.name in service.settings.models.aliases else "api",
    }
