"""From the operator's hands to one tree: defaults < file < environment < flags < live changes kept in the database."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from orchestrator.settings import document, environment
from orchestrator.settings.change import apply
from orchestrator.settings.importing.ollama_orchestrator import from_ollama_orchestrator, is_legacy
from orchestrator.settings.key import keys
from orchestrator.settings.merge import has, nested, overlay
from orchestrator.settings.problem import Locate, Problem, build, failure
from orchestrator.settings.secret import REFERENCE, Unreadable, expand, from_variable
from orchestrator.settings.tree import Settings

SAFE_KEY_LENGTH = 16

Source = Literal["default", "file", "env", "flag", "database"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who set a key, and where: `orchestrator.yaml:12`, `ORCHESTRATOR_SERVER__PORT`; empty for a default."""

    source: Source
    where: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings and, for every key of `keys()`, its origin. `warnings` are for the operator's eyes."""

    settings: Settings
    origins: Mapping[str, Origin]
    warnings: list[str] = field(default_factory=list)
    file: Path | None = None

    def override(self, changes: Mapping[str, Any], where: str = "", source: Source = "database") -> Loaded:
        """With live changes on top (as for `apply`). Raises ConfigurationError."""
        origins = dict(self.origins)
        tree = nested(changes)
        for path in keys():
            if has(tree, path):
                origins[path] = Origin(source, where)
        return replace(self, settings=apply(self.settings, changes), origins=MappingProxyType(origins))


def load(
    file: Path | None = None, environ: Mapping[str, str] = os.environ, flags: Mapping[str, Any] | None = None
) -> Loaded:
    """Reads everything. Raises ConfigurationError with every problem that was found.

    `file` None looks in the usual places; `document.NO_FILE` reads none. `flags` are dotted paths to values; those
    that are None were not given.
    """
    warnings: list[str] = []
    if file is None:
        file, warnings = document.find(environ)
    elif file == document.NO_FILE:
        file = None
    read, told = read_file(file) if file is not None else (document.Document("", {}), [])
    warnings += told
    variables = environment.read(environ)
    problems = list(variables.problems)
    from_file = expand(read.data, environ, read.where, problems)
    from_env = expand(variables.tree, environ, lambda path: _variable(variables, path), problems)
    from_flags = nested({name: value for name, value in (flags or {}).items() if value is not None})
    origins = _origins(read, from_file, variables, from_flags)

    def locate(path: str) -> str:
        if has(from_flags, path.partition("[")[0]):
            return "command line"
        return _variable(variables, path) or (read.where(path) if read.name else "")

    tree = overlay(overlay(overlay({}, from_file), from_env), from_flags)
    _resolve_keys(tree, environ, locate, problems)
    if problems:
        raise failure(problems)
    settings = build(tree, locate)
    warnings += [*variables.warnings, *_weak_keys(settings)]
    return Loaded(settings, MappingProxyType(origins), warnings, file)


def read_file(file: Path) -> tuple[document.Document, list[str]]:
    """The file's document, and warnings. One of the fleet contract's layouts is read as ours; then nothing has a line.
    Raises ConfigurationError."""
    read = document.read(file)
    if not is_legacy(read.data):
        return read, []
    made = from_ollama_orchestrator(read.data, settle=False)
    note = (
        f"{file} has Ollama Orchestrator's layout: `orchestrator import ollama-orchestrator {file}` writes it as ours"
    )
    return document.Document(read.name, made.tree), [note, *made.warnings]


def _weak_keys(settings: Settings) -> list[str]:
    # Refusing them would keep a predecessor's users from starting with the keys that they have.
    return [
        f"the API key '{key.name}' is shorter than {SAFE_KEY_LENGTH} characters: it can be guessed"
        for key in settings.auth.keys
        if len(key.key.get_secret_value()) < SAFE_KEY_LENGTH
    ]


def _origins(
    read: document.Document,
    from_file: Mapping[str, Any],
    variables: environment.Environment,
    from_flags: Mapping[str, Any],
) -> dict[str, Origin]:
    origins: dict[str, Origin] = {}
    for path in keys():
        if has(from_flags, path):
            origins[path] = Origin("flag", "command line")
        elif path in variables.variables:
            origins[path] = Origin("env", variables.variables[path])
        elif has(from_file, path):
            origins[path] = Origin("file", read.where(path))
        else:
            origins[path] = Origin("default")
    return origins


def _variable(variables: environment.Environment, path: str) -> str:
    return variables.variables.get(path.partition("[")[0], "")


def _resolve_keys(tree: dict[str, Any], environ: Mapping[str, str], locate: Locate, problems: list[Problem]) -> None:
    """Keys of callers given as `env:NAME`: unlike a node's, they are needed at once, to be hashed."""
    auth = tree.get("auth")
    entries = auth.get("keys") if isinstance(auth, dict) else None
    if not isinstance(entries, list):
        return
    for index, entry in enumerate(entries):
        key = entry.get("key") if isinstance(entry, dict) else None
        if isinstance(key, str) and REFERENCE.match(key):
            path = f"auth.keys[{index}].key"
            try:
                entries[index] = {**entry, "key": from_variable(key.removeprefix("env:"), environ)}
            except Unreadable as error:
                problems.append(Problem(path, f"{path}: {error}", where=locate(path)))
