"""The configuration file: which one, and what it says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.settings import toml_text, yaml_text
from orchestrator.settings.problem import Problem, failure

MAX_BYTES = 1024**2
SUFFIXES = (".yaml", ".yml", ".toml")
FILE_VARIABLE = "ORCHESTRATOR_CONFIG_FILE"
DIRECTORY_VARIABLE = "ORCHESTRATOR_CONFIG_DIR"
NO_FILE = Path(os.devnull)  # given as the file: look for none


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data, with the line of each path."""

    name: str
    data: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def where(self, path: str) -> str:
        """`orchestrator.yaml:12` for a path, or for the nearest thing around it."""
        line = self.lines.get(path)
        while line is None and path:
            path = path.rpartition("[" if path.endswith("]") else ".")[0]
            line = self.lines.get(path)
        return f"{self.name}:{line}" if line is not None else self.name


def find(environ: Mapping[str, str]) -> tuple[Path | None, list[str]]:
    """The file to read when none is named, and warnings.

    $ORCHESTRATOR_CONFIG_FILE comes first, because somebody named it; then orchestrator.{yaml,yml,toml} in the working
    directory, $ORCHESTRATOR_CONFIG_DIR, $XDG_CONFIG_HOME/orchestrator (or ~/.config/orchestrator), /etc/orchestrator.
    """
    named = environ.get(FILE_VARIABLE)
    if named:
        return Path(named), []
    for directory in _directories(environ):
        found = [path for suffix in SUFFIXES if (path := directory / f"orchestrator{suffix}").is_file()]
        if found:
            ignored = [f"{path} is not read, because {found[0]} is there" for path in found[1:]]
            return found[0], ignored
    return None, []


def read(path: Path, wrap: str = "") -> Document:
    """The file's document; a list at the top is put under the name `wrap`, if there is one.

    Raises ConfigurationError: unreadable, too large, malformed, duplicate keys, no mapping.
    """
    name = str(path)
    if path.suffix.lower() not in (*SUFFIXES, ".json"):
        raise failure([Problem("", "must be a .yaml, .yml, .toml or .json file", where=name)])
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise failure([Problem("", f"cannot be read: {error.strerror}", where=name)]) from error
    if len(raw) > MAX_BYTES:
        raise failure([Problem("", f"is larger than {MAX_BYTES // 1024} KiB", where=name)])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise failure([Problem("", "is not UTF-8 text", where=name)]) from None
    parse = toml_text.parse if path.suffix.lower() == ".toml" else yaml_text.parse
    data, lines = parse(text, name)
    if data is None:
        data = {}
    if wrap and isinstance(data, list):
        data = {wrap: data}
    if not isinstance(data, dict):
        raise failure([Problem("", "must be a mapping of sections", where=name)])
    return Document(name, data, lines)


def _directories(environ: Mapping[str, str]) -> list[Path]:
    directories = [Path()]
    if environ.get(DIRECTORY_VARIABLE):
        directories.append(Path(environ[DIRECTORY_VARIABLE]))
    if environ.get("XDG_CONFIG_HOME"):
        directories.append(Path(environ["XDG_CONFIG_HOME"]) / "orchestrator")
    elif environ.get("HOME"):
        directories.append(Path(environ["HOME"]) / ".config" / "orchestrator")
    directories.append(Path("/etc/orchestrator"))
    return directories
