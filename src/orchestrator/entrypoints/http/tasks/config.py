"""The configuration in the tasks contract's words (its 3.1) over our own settings. Our words, the history and rollback
are under /api/orchestrator/config; both change the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi import Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import ConfigurationError, InvalidRequest
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.tasks.envelope import answer, described, read_body, service_of, tasks_router
from orchestrator.settings import Settings, dump

router = tasks_router("config")
READ, WRITE = requires(Permission.CONFIG_READ), requires(Permission.CONFIG_WRITE)
CODE = "INVALID_CONFIG"
# The contract's keys and ours. The words in which values are given are the same.
SAME: Mapping[str, str] = {
    "orchestrator.id": "tasks.orchestrator_id",
    "orchestrator.host": "server.host",
    "orchestrator.port": "server.port",
    "orchestrator.heartbeat_interval": "tasks.heartbeat_interval",
    "orchestrator.node_timeout": "tasks.node_timeout",
    "orchestrator.task_timeout": "tasks.timeout",
    "orchestrator.max_retries": "tasks.max_retries",
    "orchestrator.auto_discovery": "discovery.enabled",
    "orchestrator.log_level": "logging.level",
    "network.load_balance_algorithm": "tasks.policy",
    "network.max_nodes": "tasks.max_nodes",
    "network.worker_hosts": "tasks.worker_hosts",
    "security.api_key_required": "auth.enabled",
    "security.cors_origins": "server.cors_origins",
    "logging.level": "logging.level",
    "websocket.max_connections": "tasks.websocket_max",
    "metrics.enabled": "metrics.enabled",
}
# What is so, and cannot be changed by this route.
FIXED: Mapping[str, Callable[[Settings], Any]] = {
    "orchestrator.auto_start": lambda settings: True,
    "orchestrator.security_enabled": lambda settings: settings.auth.enabled,
    "network.fault_tolerance_enabled": lambda settings: True,
    "network.auto_scaling_enabled": lambda settings: False,
    "performance.monitoring_enabled": lambda settings: True,
    "security.api_keys": lambda settings: dump(settings)["auth"]["keys"],
    "security.audit_logging": lambda settings: True,
    "security.encryption_enabled": lambda settings: False,
    "storage.type": lambda settings: settings.database_url.partition(":")[0].partition("+")[0],
    "storage.backup_enabled": lambda settings: False,
    "websocket.enabled": lambda settings: settings.tasks.websocket_max > 0,
    "websocket.port": lambda settings: settings.tasks.websocket_port or settings.server.port,
}
_OURS = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, set(SAME.values())))})(?!\w)")
NOT_HERE = "is not changed by this route"
NO_EFFECT = "has no effect in this service"


@router.get("/config")
async def get_config(request: Request, principal: Principal = READ) -> Response:
    """The settings in force, by the contract's names and in its units (seconds). Secrets are masked."""
    return answer(request, {"config": shown(service_of(request).settings)})


@router.put("/config", openapi_extra=described({"network": "Any part of what GET /config shows."}))
async def change_config(request: Request, principal: Principal = WRITE) -> Response:
    """Puts a part or the whole in force at once; what is not sent stays as it is. `changed` are the keys that became
    different, `ignored` those without effect, and why. 400 INVALID_CONFIG changes nothing."""
    body = await read_body(request)
    if not body:
        raise InvalidRequest("No configuration provided")
    changes, ignored = _read(body, shown(service_of(request).settings))
    changed = await _change(request, principal, changes)
    named = {"config": shown(service_of(request).settings), "changed": changed, "ignored": ignored}
    return answer(request, named, message="Configuration updated successfully")


@router.put("/config/{path}", openapi_extra=described({"value": "The new value."}))
async def change_one(request: Request, path: str, principal: Principal = WRITE) -> Response:
    """One key by its dotted path. 400 INVALID_CONFIG for a path that is not one of those that can be changed."""
    body = await read_body(request)
    if "value" not in body:
        raise InvalidRequest("value is required", details={"field": "value"})
    if path not in SAME:
        details = {"code": CODE, "field": path[:200], "known": sorted(SAME)}
        raise InvalidRequest(f"{path[:200]} {NOT_HERE if path in FIXED else NO_EFFECT}", details=details)
    changed = await _change(request, principal, {path: body["value"]})
    named = {"config": shown(service_of(request).settings), "changed": changed}
    return answer(request, named, message=f"Configuration {path} updated")


def shown(settings: Settings) -> dict[str, dict[str, Any]]:
    tree = dump(settings)
    found: dict[str, dict[str, Any]] = {}
    for name, ours in SAME.items():
        section, _, key = ours.partition(".")
        _put(found, name, tree[section][key])
    for name, tell in FIXED.items():
        _put(found, name, tell(settings))
    return found


def _put(tree: dict[str, dict[str, Any]], name: str, value: Any) -> None:
    section, _, key = name.partition(".")
    tree.setdefault(section, {})[key] = value


def _read(body: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Changes, and the keys that change nothing. What is sent back as it was shown is no change, so that a
    whole configuration can be sent with one key changed."""
    changes: dict[str, Any] = {}
    ignored: dict[str, str] = {}
    for section, keys in body.items():
        if not isinstance(keys, dict):
            raise InvalidRequest(f"{section[:200]}: an object", details={"code": CODE, "field": section[:200]})
        for key, value in keys.items():
            name = f"{section}.{key}"
            if now.get(section, {}).get(key) == value and (name in SAME or name in FIXED):
                continue
            if name in SAME:
                changes[name] = value
            else:
                ignored[name[:200]] = NOT_HERE if name in FIXED else NO_EFFECT
    return changes, ignored


async def _change(request: Request, principal: Principal, asked: Mapping[str, Any]) -> list[str]:
    """`asked` by the contract's keys, as is what became different."""
    names = {ours: name for name, ours in SAME.items()} | {SAME[name]: name for name in asked}
    changes = {SAME[name]: value for name, value in asked.items()}
    with _validation(names):
        differences = await service_of(request).configuration.change(changes, who=principal.name)
    if differences:
        audit(principal, "config.change", changes={one.path: one.new for one in differences})
    return [names.get(one.path, one.path) for one in differences]


@contextmanager
def _validation(names: Mapping[str, str]) -> Iterator[None]:
    """Tells what is wrong by the keys that the client knows: `names` has them by ours."""
    try:
        yield
    except ConfigurationError as error:
        problems = [_renamed(one, names) for one in error.details.get("problems", [])]
        details = {"code": CODE, "problems": problems} | ({"field": problems[0]["path"]} if problems else {})
        raise InvalidRequest(_in_words(error.message, names), details=details) from None
    except InvalidRequest as error:
        stuck = [names.get(one, one) for one in error.details.get("restartRequired", [])]
        details = {**error.details, "code": CODE} | ({"field": stuck[0], "restartRequired": stuck} if stuck else {})
        raise InvalidRequest(_in_words(error.message, names), details=details) from None


def _renamed(problem: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    return {part: _in_words(text, names) for part, text in problem.items()}


def _in_words(text: str, names: Mapping[str, str]) -> str:
    return _OURS.sub(lambda found: names[found[0]], text)
