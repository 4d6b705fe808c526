"""TOML as plain data with line numbers."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from orchestrator.settings.problem import Problem, failure

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""")
_AT_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)$")


def parse(text: str, name: str) -> tuple[Any, dict[str, int]]:
    """The data and the line of each path in it. `name` is the file's, for messages. Raises ConfigurationError."""
    try:
        return tomllib.loads(text), _lines(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = _AT_LINE.search(message)
        where = f"{name}:{found[1]}" if found else name
        raise failure([Problem("", f"not valid TOML: {_AT_LINE.sub('', message)}", where=where)]) from None
    except RecursionError:
        raise failure([Problem("", "nested too deep", where=name)]) from None


def _lines(text: str) -> dict[str, int]:
    """Where each key stands: tomllib does not tell. Good enough for messages; a multi-line text may mislead it."""
    lines: dict[str, int] = {}
    tables: dict[str, int] = {}  # arrays of tables: path -> index of the last one
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header is not None:
            steps = _steps(header[2])
            current = _place(steps, tables)
            if header[1] == "[[":
                lines.setdefault(current, number)
                plain = ".".join(steps)
                tables[plain] = tables.get(plain, -1) + 1
                current = _place(steps, tables)
            lines.setdefault(current, number)
            continue
        key = _KEY.match(line)
        if key is not None:
            path = current
            for step in _steps(key[1]):
                path = f"{path}.{step}" if path else step
                lines.setdefault(path, number)
    return lines


def _steps(text: str) -> list[str]:
    return [next(part for part in match.groups() if part is not None) for match in _PART.finditer(text)]


def _place(steps: list[str], tables: dict[str, int]) -> str:
    path = plain = ""
    for step in steps:
        plain = f"{plain}.{step}" if plain else step
        path = f"{path}.{step}" if path else step
        if plain in tables:
            path += f"[{tables[plain]}]"
    return path
