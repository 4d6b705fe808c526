"""The configuration: reading it, changing it while the service runs, reading its file again, writing changes to it.

Two spellings are understood: the fleet contract's (camelCase, milliseconds) as `config`, ours (`docs/reference/
settings.md`) as `settings`. Secrets are masked; a mask sent back keeps its secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import Field

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import ConfigurationError, InvalidRequest
from orchestrator.entrypoints.http.admin.route import Body, admin_router, audit, milliseconds, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.ports.configuration import Difference
from orchestrator.settings import (
    SECTIONS,
    Settings,
    dump,
    from_legacy,
    from_legacy_tree,
    inert_keys,
    keys,
    legacy_view,
    replacing,
    schema,
)

router = admin_router("config")
READ, WRITE = requires(Permission.CONFIG_READ), requires(Permission.CONFIG_WRITE)
OWN_SECTIONS = tuple(dict.fromkeys(path.partition(".")[0] for path in keys() if "." in path))
VALID_SECTIONS = (*SECTIONS, *(name for name in OWN_SECTIONS if name not in SECTIONS))
# What an answer of GET /config wraps around the configuration, so that it can be sent back as it is.
_WRAPPING = frozenset({"success", "message", "source", "config", "settings", "origins", "restartRequired", "changed"})


class File(Body):
    """`configPath`: the file in use, or one in the folder `config` of data_dir. Absent: the file in use."""

    config_path: str | None = None


class Reload(File):
    """`discardChanges` drops what was changed through the API, so that the file's word counts again."""

    discard_changes: bool = False


class Rollback(Body):
    """`version`: one of the history."""

    version: Annotated[int, Field(strict=True, ge=1)]


@router.get("/config")
async def get_config(request: Request, principal: Principal = READ) -> dict[str, Any]:
    """The settings in force, and who set each of them. `source` is the file in use, or default."""
    configuration = service_of(request).configuration
    return {
        "success": True,
        **_shown(configuration.settings),
        "source": configuration.file or "default",
        "origins": {path: {"source": by, "where": where} for path, (by, where) in configuration.origins.items()},
        "restartRequired": list(configuration.waiting),
    }


@router.post("/config")
async def replace_config(request: Request, body: dict[str, Any], principal: Principal = WRITE) -> dict[str, Any]:
    """Puts a whole or partial configuration in force, as GET gives it: bare, or wrapped as a backup has it.

    What is not sent stays, but a mapping of `settings` (such as `models.aliases`) becomes what is sent. 400 with
    `details` when it is wrong or needs a restart; nothing is changed then.
    """
    settings = service_of(request).settings
    own = body.get("settings", {})
    legacy = body.get("config", {name: value for name, value in body.items() if name not in _WRAPPING})
    if not isinstance(own, dict) or not isinstance(legacy, dict):
        raise InvalidRequest("config and settings must be objects.")
    with _validation():
        changes = from_legacy_tree(legacy, settings)
        own = replacing(settings, own)
    return await _change(request, principal, "Configuration updated", own, changes)


@router.patch("/config")
async def change_config(request: Request, body: dict[str, Any], principal: Principal = WRITE) -> dict[str, Any]:
    """Changes settings by our names: a tree, or dotted paths such as `queue.max_size`. 400 as above."""
    return await _change(request, principal, "Configuration updated", body)


@router.patch("/config/{section}")
async def change_section(
    request: Request, section: str, body: dict[str, Any], principal: Principal = WRITE
) -> dict[str, Any]:
    """Changes one section, by the contract's names or by ours.

    In a section that both know, a body with a name that only ours has is read as ours, any other as the contract's.
    400 with `validSections` for an unknown section, and as above.
    """
    if section not in VALID_SECTIONS:
        raise InvalidRequest("Invalid configuration section", details={"validSections": list(VALID_SECTIONS)})
    legacy = section in SECTIONS and not _is_own(section, body)
    with _validation():
        changes = from_legacy(section, body) if legacy else {section: body}
    answer = await _change(request, principal, f"Configuration section {section} updated", changes)
    answer["section"] = section
    answer["config"] = answer["config" if section in answer["config"] and legacy else "settings"].get(section, {})
    if legacy and (ignored := inert_keys(section, body)):
        answer["ignored"] = ignored
    return answer


@router.post("/config/reload")
async def reload_config(request: Request, body: Reload | None = None, principal: Principal = WRITE) -> dict[str, Any]:
    """Reads the configuration file again. Changes made through the API stay on top unless they are discarded.

    `overridden` are settings where such a change still wins over the file, `restartRequired` those that wait for a
    restart. 400 without a file, for a file that is not allowed, and as above.
    """
    configuration = service_of(request).configuration
    wanted = body or Reload()
    if wanted.config_path is None and configuration.file is None:
        raise InvalidRequest("No configuration file is in use: give configPath.")
    with _validation():
        done = await configuration.reload(principal.name, wanted.config_path, discard=wanted.discard_changes)
    audit(principal, "config.reload", configuration.file or "", changed=[one.path for one in done.changed])
    return {
        "success": True,
        "message": "Configuration reloaded",
        **_shown(configuration.settings),
        "changed": _differences(done.changed),
        "overridden": list(done.kept),
        "restartRequired": list(done.waiting),
    }


@router.post("/config/save")
async def save_config(request: Request, body: File | None = None, principal: Principal = WRITE) -> dict[str, Any]:
    """Folds the changes made through the API into the configuration file (.yaml, .yml or .json).

    What the file says otherwise stays, references to secrets included; comments do not. The old file is kept as
    `.bak`. 400 without a file and for a file that is not allowed.
    """
    with _validation():
        path = await service_of(request).configuration.save(body.config_path if body is not None else None)
    audit(principal, "config.save", path)
    return {"success": True, "message": "Configuration saved", "path": path}


@router.get("/config/schema")
async def get_schema(principal: Principal = READ) -> dict[str, Any]:
    """The JSON Schema of `settings`; `live: true` marks what takes effect without a restart."""
    return {"success": True, "schema": schema()}


@router.get("/config/history")
async def get_history(
    request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 50, principal: Principal = READ
) -> dict[str, Any]:
    """Who changed what through the API, newest first; `document` is what differed from the file then.

    `changed` is what the version before had otherwise, `null` standing for what the file says; secrets are masked.
    """
    versions = await service_of(request).configuration.history(limit)
    history = [
        {
            "version": one.entry.version,
            "who": one.entry.who,
            "when": milliseconds(one.entry.when),
            "document": dict(one.entry.document),
            "changed": _differences(one.changed) if one.changed is not None else None,
        }
        for one in versions
    ]
    return {"success": True, "count": len(history), "history": history}


@router.post("/config/rollback")
async def roll_back(request: Request, body: Rollback, principal: Principal = WRITE) -> dict[str, Any]:
    """Puts an earlier version of the history in force again, as a new version.

    404 for a version that is not in the history; 400 when it is wrong by now or needs a restart, as above.
    """
    configuration = service_of(request).configuration
    with _validation():
        differences = await configuration.rollback(body.version, principal.name)
    audit(principal, "config.rollback", str(body.version), changes={one.path: one.new for one in differences})
    return {
        "success": True,
        "message": f"Configuration rolled back to version {body.version}",
        "version": body.version,
        **_shown(configuration.settings),
        "changed": _differences(differences),
    }


async def _change(request: Request, principal: Principal, message: str, *changes: Mapping[str, Any]) -> dict[str, Any]:
    configuration = service_of(request).configuration
    with _validation():
        differences = await configuration.change(*changes, who=principal.name)
    if differences:
        audit(principal, "config.change", changes={one.path: one.new for one in differences})
    return {
        "success": True,
        "message": message,
        **_shown(configuration.settings),
        "changed": _differences(differences),
    }


def _shown(settings: Settings) -> dict[str, Any]:
    return {"config": legacy_view(settings), "settings": dump(settings)}


def _differences(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    return [{"path": one.path, "old": one.old, "new": one.new} for one in differences]


def _is_own(section: str, body: Mapping[str, Any]) -> bool:
    """Whether a body holds a name that only our section has."""
    own = {path.split(".")[1] for path in keys() if path.startswith(f"{section}.")}
    both = set(legacy_view(Settings()).get(section, {}))
    return any(name in own and name not in both for name in body)


@contextmanager
def _validation() -> Iterator[None]:
    """What is the operator's fault at start is the caller's here."""
    try:
        yield
    except ConfigurationError as error:
        details = {"details": error.message, "problems": error.details.get("problems", [])}
        raise InvalidRequest("Configuration validation failed", details=details) from None
