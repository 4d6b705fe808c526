"""Bans: what operators keep traffic from. The rests that failing pairs take by themselves are shown with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request
from pydantic import Field

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.ban import Ban
from orchestrator.domain.errors import InvalidRequest, ModelNotFound, NotFound
from orchestrator.entrypoints.http.admin.route import Body, admin_router, audit, milliseconds, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.services.fleet.rests import Rest, end_rests, rests

router = admin_router("bans")
READ, WRITE = requires(Permission.BREAKERS_READ), requires(Permission.BREAKERS_WRITE)


class NewBan(Body):
    """A server, a model, or one model on one server. `durationMs` absent: until lifted."""

    server_id: str = ""
    model: str = ""
    duration_ms: int | None = Field(None, ge=1, le=366 * 24 * 3600 * 1000)
    reason: str = Field("", max_length=1000)


@router.get("/bans")
async def list_bans(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """All bans. `type` is permanent, temporary, or cooldown for a pair that rests after failures. `until` in ms,
    or null."""
    service = service_of(request)
    shown = [_ban(ban, service.clock.epoch) for ban in service.fleet.bans.values()]
    shown += [_rest(rest) for rest in rests(service.fleet)]
    return {"success": True, "count": len(shown), "bans": shown}


@router.post("/bans")
async def add_ban(request: Request, body: NewBan, principal: Principal = WRITE) -> dict[str, Any]:
    """Bans a server, a model, or one model on one server. A ban of the same pair is replaced.

    400 for a ban of nothing, 404 for an unknown server or model.
    """
    service = service_of(request)
    now = service.clock.epoch
    if body.server_id:
        service.registry.node(body.server_id)
    ban = Ban(
        node=body.server_id,
        model=_model(service, body.model) if body.model else "",
        reason=body.reason,
        until=now + body.duration_ms / 1000 if body.duration_ms is not None else None,
        created_at=now,
        created_by=principal.name,
    )
    await service.registry.ban(ban)
    audit(principal, "ban.add", ban.key, reason=ban.reason, until=ban.until)
    return {"success": True, "ban": _ban(ban, now)}


@router.delete("/bans")
async def lift_all(request: Request, principal: Principal = WRITE) -> dict[str, Any]:
    """Lifts every ban and ends every rest."""
    return await _lift(request, principal, "all", lambda node, model: True)


@router.delete("/bans/server/{server_id}")
async def lift_of_server(request: Request, server_id: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Lifts the bans that name the server. `removed` may be 0."""
    return await _lift(request, principal, server_id, lambda node, model: node == server_id)


@router.delete("/bans/model/{model:path}")
async def lift_of_model(request: Request, model: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Lifts the bans that name the model. `removed` may be 0."""
    names = _names(service_of(request), model)
    return await _lift(request, principal, f":{model}", lambda node, banned: banned in names)


@router.delete("/bans/{server_id}/{model:path}")
async def lift_of_pair(request: Request, server_id: str, model: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Lifts the ban of one model on one server. 404 when there is none."""
    names = _names(service_of(request), model)
    found = await _lift(
        request, principal, f"{server_id}:{model}", lambda node, banned: node == server_id and banned in names
    )
    if not found["removed"]:
        raise NotFound(f"No ban found for '{server_id}:{model}'")
    return found


async def _lift(
    request: Request, principal: Principal, target: str, covers: Callable[[str, str], bool]
) -> dict[str, Any]:
    service = service_of(request)
    removed = await service.registry.lift(lambda ban: covers(ban.node, ban.model))
    removed += end_rests(service.fleet, covers)
    if removed:
        audit(principal, "ban.lift", target, removed=removed)
        service.gateway.admitting.pump()
    return {"success": True, "removed": removed, "message": f"{removed} bans lifted"}


def _model(service: HttpService, name: str) -> str:
    """The catalogue's name, under which bans are looked for. Raises ModelNotFound, InvalidRequest."""
    names = service.fleet.resolve(name).names
    if len(names) != 1:
        raise InvalidRequest(f"'{name}' stands for several models: ban {' or '.join(names)}.")
    return names[0]


def _names(service: HttpService, name: str) -> frozenset[str]:
    """The names under which a ban of this model may be kept."""
    try:
        return frozenset({name, *service.fleet.resolve(name).names})
    except ModelNotFound:
        return frozenset({name})


def _ban(ban: Ban, now: float) -> dict[str, Any]:
    left = None if ban.until is None else milliseconds(max(ban.until - now, 0.0))
    return {
        "serverId": ban.node,
        "model": ban.model,
        "key": ban.key,
        "type": "permanent" if ban.until is None else "temporary",
        "reason": ban.reason,
        "until": None if ban.until is None else milliseconds(ban.until),
        "timeLeft": left,
        "remainingMs": left,
        "createdAt": milliseconds(ban.created_at),
        "createdBy": ban.created_by,
    }


def _rest(rest: Rest) -> dict[str, Any]:
    return {
        "serverId": rest.node,
        "model": rest.model,
        "key": f"{rest.node}:{rest.model}" if rest.model else rest.node,
        "type": "cooldown",
        "reason": "failures in a row",
        "until": milliseconds(rest.until),
        "timeLeft": milliseconds(rest.left),
        "remainingMs": milliseconds(rest.left),
        "createdAt": None,
        "createdBy": "",
    }
