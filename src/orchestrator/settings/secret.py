"""Secrets that stand elsewhere: `${file:/path}`, `${env:NAME}`, `env:NAME` and NAME_FILE variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.settings.problem import Locate, Problem, render

MAX_BYTES = 64 * 1024
REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*\Z")
_INSERT = re.compile(r"\$\$\{|\$\{(file|env):([^}]*)\}")


class Unreadable(Exception):
    """A secret's place holds nothing to read. The message is the reason."""


def from_file(path: str) -> str:
    """The file's text without its last line ends. Raises Unreadable."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise Unreadable(f"the file {path!r} cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise Unreadable(f"the file {path!r} is larger than {MAX_BYTES // 1024} KiB")
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise Unreadable(f"the file {path!r} is not UTF-8 text") from None


def from_variable(name: str, environ: Mapping[str, str]) -> str:
    """A variable's text. Raises Unreadable."""
    value = environ.get(name)
    if value is None:
        raise Unreadable(f"the environment variable {name} is not set")
    return value


def expand(data: Any, environ: Mapping[str, str], locate: Locate, problems: list[Problem]) -> Any:
    """A copy of `data` with every `${file:...}` and `${env:...}` replaced; `$${` stands for `${`."""

    def insert(text: str) -> str:
        return _INSERT.sub(lambda match: _inserted(match, environ), text) if "${" in text else text

    return _walk(data, (), insert, locate, problems)


def _walk(
    value: Any, path: tuple[str | int, ...], insert: Callable[[str], str], locate: Locate, problems: list[Problem]
) -> Any:
    if isinstance(value, dict):
        return {key: _walk(inner, (*path, key), insert, locate, problems) for key, inner in value.items()}
    if isinstance(value, list):
        return [_walk(inner, (*path, index), insert, locate, problems) for index, inner in enumerate(value)]
    if isinstance(value, str):
        try:
            return insert(value)
        except Unreadable as error:
            text = render(path)
            problems.append(Problem(text, f"{text}: {error}", where=locate(text)))
    return value


def _inserted(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[1] is None:
        return "${"
    return from_file(match[2]) if match[1] == "file" else from_variable(match[2], environ)
