"""The environment as a layer of settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from orchestrator.settings.alias import ALIASES, INERT_VARIABLES, KEY_LISTS
from orchestrator.settings.document import DIRECTORY_VARIABLE, FILE_VARIABLE
from orchestrator.settings.key import ENVIRONMENT_PREFIX, Key, keys
from orchestrator.settings.merge import put
from orchestrator.settings.problem import Problem, closest
from orchestrator.settings.secret import Unreadable, from_file

_FILE_SUFFIX = "_FILE"
FLAG_PREFIX = "ORCHESTRATOR_FF_"
# Kubernetes gives every pod these variables for a service named "orchestrator".
_KUBERNETES = re.compile(r"ORCHESTRATOR_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)\Z")
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://")


@dataclass(slots=True)
class Environment:
    """What the variables set: a tree, the variable that set each path, and what was wrong with some."""

    tree: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def put(self, path: str, value: Any, variable: str) -> None:
        put(self.tree, path, value)
        self.variables[path] = variable

    def refuse(self, path: str, variable: str, reason: str) -> None:
        self.problems.append(Problem(path, f"{path}: {reason}", where=variable))


@cache
def native() -> Mapping[str, Key]:
    """Our own variables: ORCHESTRATOR_SERVER__PORT for server.port."""
    return {key.environment: key for key in keys().values()}


def read(environ: Mapping[str, str]) -> Environment:
    """The layer of the environment. Our own names win over the contract's. An empty variable counts as not set."""
    found = Environment()
    given = {name: text for name, text in environ.items() if text.strip()}
    _aliases(given, found)
    _key_lists(given, found)
    for name, key in native().items():
        text = _text(name, key.path, given, found)
        if text is not None:
            _native(key, name, text, found)
    for name in sorted(given):
        warning = _warning(name)
        if warning:
            found.warnings.append(warning)
    return found


def _text(name: str, path: str, given: Mapping[str, str], found: Environment) -> str | None:
    """The text of a variable, or of the file that its _FILE twin names."""
    if name in given:
        return given[name]
    twin = name + _FILE_SUFFIX
    if twin not in given or twin in native():
        return None
    try:
        return from_file(given[twin])
    except Unreadable as error:
        found.refuse(path, twin, str(error))
        return None


def _aliases(given: Mapping[str, str], found: Environment) -> None:
    for name, alias in ALIASES.items():
        text = given.get(name)
        if text is None:
            continue
        if name == "ORCHESTRATOR_PORT" and _KUBERNETES_PORT.match(text):
            continue
        try:
            value = alias.value(text.strip())
        except ValueError as error:
            found.refuse(alias.path, name, str(error))
            continue
        if value == "":  # a variable that takes the key back
            found.put(alias.path, None, name)
        elif value is not None:
            key = keys()[alias.path]
            found.put(alias.path, _comma_list(value) if key.is_list and isinstance(value, str) else value, name)


def _key_lists(given: Mapping[str, str], found: Environment) -> None:
    entries: list[dict[str, Any]] = []
    names: list[str] = []
    for name, role in KEY_LISTS.items():
        text = _text(name, "auth.keys", given, found)
        if text is None:
            continue
        names.append(name)
        for key in _comma_list(text):
            if any(entry["key"] == key and entry["role"] == role for entry in entries):
                continue
            number = sum(entry["role"] == role for entry in entries) + 1
            entry = {"name": f"environment-{role}-{number}", "key": key, "role": role}
            # A key in both lists is an administrator's.
            entries = [other for other in entries if other["key"] != key] + [entry]
    if entries:
        found.put("auth.keys", entries, ", ".join(names))


def _native(key: Key, name: str, text: str, found: Environment) -> None:
    stripped = text.strip()
    if key.optional and stripped.lower() in ("none", "null"):
        found.put(key.path, None, name)
    elif key.is_mapping or (key.is_list and (key.item is not None or stripped.startswith("["))):
        try:
            found.put(key.path, json.loads(stripped), name)
        except (ValueError, RecursionError):
            kind = "list" if key.is_list else "object"
            found.refuse(key.path, name, f"must be a JSON {kind}")
    elif key.is_list:
        found.put(key.path, _comma_list(text), name)
    else:
        found.put(key.path, stripped, name)


def _comma_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _warning(name: str) -> str:
    if name in INERT_VARIABLES:
        return f"{name} has no effect: {INERT_VARIABLES[name]}"
    if not name.startswith(ENVIRONMENT_PREFIX) or name in native() or name in ALIASES or name in KEY_LISTS:
        return ""
    if name in (FILE_VARIABLE, DIRECTORY_VARIABLE) or _KUBERNETES.match(name):
        return ""
    if name.startswith(FLAG_PREFIX):
        return f"{name} has no effect: there are no feature flags"
    base = name.removesuffix(_FILE_SUFFIX)
    if base != name and (base in native() or base in KEY_LISTS):
        return ""
    meant = closest(name, (*native(), *ALIASES, *KEY_LISTS), cutoff=0.8)
    return f"unknown environment variable {name}" + (f": did you mean {meant}?" if meant else "")
