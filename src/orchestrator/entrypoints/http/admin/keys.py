"""API keys. A key's text is shown once, when it is made; the database keeps its hash."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from pydantic import Field

from orchestrator.domain.access import Permission, Principal, Role
from orchestrator.domain.api_key import ApiKey
from orchestrator.domain.storable import INTEGER_LIMIT
from orchestrator.entrypoints.http.admin.route import Body, admin_router, audit, milliseconds, service_of
from orchestrator.entrypoints.http.permission import requires

router = admin_router("keys")
READ, WRITE = requires(Permission.KEYS_READ), requires(Permission.KEYS_WRITE)


class NewKey(Body):
    """`rateLimit` in requests a minute, `expiresAt` in ms since the epoch; `models` empty: all."""

    name: str
    role: Role
    models: list[str] = Field(default_factory=list, max_length=1000)
    rate_limit: int | None = None
    priority: int = 0
    expires_at: int | None = Field(None, lt=INTEGER_LIMIT)


@router.get("/keys")
async def list_keys(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """The keys of the database and, with `source` config, those of the configuration. Times in ms, or null."""
    service = service_of(request)
    now = service.clock.epoch
    shown = [_key(key, now) for key in await service.keyring.list()]
    shown += [
        {
            "id": f"config:{key.name}",
            "name": key.name,
            "role": key.role,
            "models": list(key.models),
            "rateLimit": key.rate_limit,
            "priority": key.priority,
            "status": "active",
            "source": "config",
        }
        for key in service.settings.auth.keys
    ]
    return {"success": True, "count": len(shown), "keys": shown}


@router.post("/keys", status_code=201)
async def create_key(request: Request, body: NewKey, principal: Principal = WRITE) -> dict[str, Any]:
    """Makes a key. `key` is its text: it is never shown again. 400."""
    service = service_of(request)
    made, text = await service.keyring.create(
        body.name,
        body.role,
        models=tuple(body.models),
        rate_limit=body.rate_limit,
        priority=body.priority,
        expires_at=body.expires_at / 1000 if body.expires_at is not None else None,
    )
    audit(principal, "key.create", made.id, name=made.name, role=made.role)
    return {"success": True, "key": text, **_key(made, service.clock.epoch)}


@router.delete("/keys/{key_id}")
async def revoke_key(request: Request, key_id: str, principal: Principal = WRITE) -> dict[str, Any]:
    """Revokes a key. It opens nothing from now on. 404 for an unknown key, one revoked before, and one of the
    configuration."""
    await service_of(request).keyring.revoke(key_id)
    audit(principal, "key.revoke", key_id)
    return {"success": True, "id": key_id}


def _key(key: ApiKey, now: float) -> dict[str, Any]:
    def time(seconds: float | None) -> int | None:
        return None if seconds is None else milliseconds(seconds)

    status = "revoked" if key.revoked_at is not None else "active" if key.usable(now) else "expired"
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "role": key.role,
        "models": list(key.models),
        "rateLimit": key.rate_limit,
        "priority": key.priority,
        "createdAt": time(key.created_at),
        "expiresAt": time(key.expires_at),
        "revokedAt": time(key.revoked_at),
        "lastUsedAt": time(key.last_used_at),
        "status": status,
        "source": "database",
    }
