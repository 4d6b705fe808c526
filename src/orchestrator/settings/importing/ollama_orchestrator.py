"""Ollama Orchestrator's configuration (fleet contract 2.2 and 2.4): both documented layouts, a backup of its API, and
its data/servers.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.settings.importing.report import Imported, Outcome, node_id, secret
from orchestrator.settings.legacy import KEYS, ROOT, SECTIONS, LegacyKey, flat, inert_reason
from orchestrator.settings.mask import MASK
from orchestrator.settings.problem import closest
from orchestrator.settings.secret import REFERENCE
from orchestrator.settings.tree import Settings

# DEPLOYMENT.md's layout, where it is another one than that of the code.
_DEPLOYMENT: Mapping[str, LegacyKey] = {
    "server.port": LegacyKey("server.port"),
    "server.host": LegacyKey("server.host"),
    "logging.level": LegacyKey("logging.level"),
    "circuitBreaker.recoveryTimeout": LegacyKey("circuit_breaker.open_time", factor=1000.0),
}
_DEPLOYMENT_INERT: Mapping[str, str] = {
    "metrics.retentionHours": "see history",
    "metrics.persistence": "state is always kept in the database",
}
_WRAPPING = frozenset({"success", "message", "source", "settings", "origins", "restartRequired"})
_ROLES = {"security.apiKeys": "developer", "security.adminApiKeys": "admin"}
_TYPES = {"ollama": "ollama", "openai": "openai"}
_OURS_TOO = frozenset({"queue", "metrics", "streaming", "retry", "security", "tags"})


def is_legacy(data: Mapping[str, Any]) -> bool:
    """Whether a configuration file has one of the predecessor's layouts: names that only it has, and none of ours."""
    ours = set(Settings.model_fields) - _OURS_TOO - {"server", "logging"}
    if ours & data.keys():
        return False
    if isinstance(data.get("servers"), list) or data.keys() & (ROOT.keys() | (set(SECTIONS) - _OURS_TOO)):
        return True
    known = KEYS.keys() | _DEPLOYMENT_INERT.keys()
    camel = [name for name in flat(data) if name.lower() != name]
    return any(name in known or inert_reason(name) for name in camel)


def from_ollama_orchestrator(data: Mapping[str, Any], *, settle: bool = True) -> Imported:
    """Our tree of a predecessor's. `settle`: what our validation refuses is left out and told."""
    made = Imported()
    config = data.get("config")
    tree = config if isinstance(config, Mapping) else {n: v for n, v in data.items() if n not in _WRAPPING}
    given = flat({name: value for name, value in tree.items() if name != "servers"})
    # The names of the top first: where a section says the same, it counts.
    for name, value in sorted(given.items(), key=lambda item: item[0] not in ROOT):
        _key(made, name, value)
    _servers(made, tree.get("servers"))
    if settle:
        made.settle()
    return made


def _key(made: Imported, name: str, value: Any) -> None:
    key = KEYS.get(name) or ROOT.get(name) or _DEPLOYMENT.get(name)
    if value is None:
        return
    if key is not None:
        made.set(name, key.path, key.ours(value))
    elif name == "logging.format":
        made.set(name, "logging.format", "json" if value == "json" else "console")
    elif name == "circuitBreaker.failureThreshold":
        rate = isinstance(value, float) and value <= 1
        made.set(name, f"circuit_breaker.{'error_rate' if rate else 'base_failure'}_threshold", value)
    elif name in _ROLES:
        _keys(made, name, value)
    else:
        reason = inert_reason(name) or _deployment_reason(name)
        if reason:
            made.tell(Outcome.INERT, name, reason)
        else:
            meant = closest(name, (*KEYS, *ROOT), cutoff=0.75)
            made.tell(Outcome.NO_EQUIVALENT, name, f"unknown: did you mean '{meant}'?" if meant else "unknown")


def _deployment_reason(name: str) -> str:
    return next((why for key, why in _DEPLOYMENT_INERT.items() if name == key or name.startswith(f"{key}.")), "")


def _keys(made: Imported, source: str, value: Any) -> None:
    role = _ROLES[source]
    entries = made.tree.setdefault("auth", {}).setdefault("keys", [])
    texts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    for text in dict.fromkeys(str(one).strip() for one in texts):
        if not text or MASK in text:
            made.tell(Outcome.ATTENTION, source, "a masked key: put it into auth.keys yourself", "auth.keys")
            continue
        number = sum(one["role"] == role for one in entries) + 1
        entries[:] = [one for one in entries if one["key"] != secret(text)]  # in both lists: an administrator's
        entries.append({"name": f"imported-{role}-{number}", "key": secret(text), "role": role})
        made.tell(Outcome.MAPPED, source, _clear(text), f"auth.keys[{len(entries) - 1}]")


def _servers(made: Imported, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        made.tell(Outcome.REFUSED, "servers", "must be a list", "nodes")
        return
    nodes: list[dict[str, Any]] = []
    taken: set[str] = set()
    for index, server in enumerate(value):
        source = f"servers[{index}]"
        if not isinstance(server, Mapping) or not isinstance(server.get("url"), str):
            made.tell(Outcome.REFUSED, source, "left out: it has no url", "nodes")
            continue
        nodes.append(_server(made, source, server, taken))
    if nodes:
        made.tree["nodes"] = nodes


def _server(made: Imported, source: str, server: Mapping[str, Any], taken: set[str]) -> dict[str, Any]:
    wished = str(server.get("id") or "server")
    node: dict[str, Any] = {"id": node_id(wished, taken), "url": server["url"]}
    notes = [f"renamed from '{wished}'"] if node["id"] != wished else []
    kind = str(server.get("type") or "auto")
    node["kind"] = _TYPES.get(kind, "ollama" if server.get("supportsOllama") is not False else "openai")
    if kind not in _TYPES:
        notes.append(f"type {kind} is read as {node['kind']}")
    if server.get("maxConcurrency") is not None:
        node["max_concurrency"] = server["maxConcurrency"]
    key = server.get("apiKey")
    if isinstance(key, str) and MASK in key:
        made.tell(Outcome.ATTENTION, f"{source}.apiKey", "masked: put the key of this node in yourself", "nodes")
    elif isinstance(key, str) and key:
        node["api_key"] = secret(key)
        notes.append(_clear(key))
    made.tell(Outcome.MAPPED, source, "; ".join(filter(None, notes)), f"node {node['id']}")
    return node


def _clear(text: str) -> str:
    return "" if REFERENCE.match(text) else "its key is in clear; env:NAME or ${file:...} would hide it"
