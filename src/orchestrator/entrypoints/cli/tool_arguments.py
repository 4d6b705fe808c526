"""`--arg NAME=VALUE` as what a tool's input schema asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.entrypoints.cli import json_text
from orchestrator.entrypoints.cli.failure import WrongUsage
from orchestrator.settings.document import read

WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
# A text is taken for what it can be, in this order; so `5` is a number wherever the schema allows numbers and texts.
ORDER = ("null", "boolean", "integer", "number", "array", "object", "string")
DEPTH = 16  # references and branches that are followed


def arguments_of(
    pairs: Sequence[str], json_pairs: Sequence[str], file: Path | None, schema: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The file's object, over it `NAME=JSON`, over it `NAME=VALUE`. A value for a list is one of its items, or the
    whole as JSON. Raises WrongUsage."""
    found = _of_file(file) if file is not None else {}
    for name, text in _split(json_pairs, "--arg-json"):
        found[name] = json_text.read(text, f"--arg-json: {name}")
    named: dict[str, list[str]] = {}
    for name, text in _split(pairs, "--arg"):
        named.setdefault(name, []).append(text)
    properties = (schema or {}).get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    return found | {name: _value(name, texts, known.get(name), schema or {}) for name, texts in named.items()}


def kinds_of(schema: Any, root: Mapping[str, Any], depth: int = DEPTH) -> frozenset[str]:
    """The JSON types that a schema allows; none where it does not say."""
    if not isinstance(schema, Mapping) or depth == 0:
        return frozenset()
    named = schema.get("type")
    if named is not None:
        names = [named] if isinstance(named, str) else named if isinstance(named, list) else ()
        return frozenset(name for name in names if isinstance(name, str))
    if "$ref" in schema:
        return kinds_of(_referred(str(schema["$ref"]), root), root, depth - 1)
    values = schema["enum"] if isinstance(schema.get("enum"), list) else [schema["const"]] if "const" in schema else []
    found = {_kind(value) for value in values}
    for name in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(name)
        for branch in branches if isinstance(branches, list) else ():
            found |= kinds_of(branch, root, depth - 1)
    return frozenset(found)


def _value(name: str, texts: list[str], schema: Any, root: Mapping[str, Any]) -> Any:
    kinds = kinds_of(schema, root)
    if "array" in kinds and not (len(texts) == 1 and (texts[0].startswith("[") or len(kinds) > 1)):
        item = _resolved(schema, root).get("items")
        return [_one(name, text, kinds_of(item, root)) for text in texts]
    if len(texts) > 1:
        raise WrongUsage(f"--arg: {name} is given {len(texts)} times, and it is no list.")
    return _one(name, texts[0], kinds)


def _one(name: str, text: str, kinds: frozenset[str]) -> Any:
    """The value of a text. Raises WrongUsage when it is none of these types."""
    for kind in ORDER:
        if kind in kinds:
            found = _read(kind, text)
            if found is not _NOT:
                return found
    if not kinds:
        return text
    raise WrongUsage(f"--arg: {name} takes {' or '.join(sorted(kinds))}, and '{text}' is none.")


class _Not:
    """No value of the type."""


_NOT = _Not()


def _read(kind: str, text: str) -> Any:
    if kind == "string":
        return text
    if kind == "boolean":
        return WORDS.get(text.lower(), _NOT)
    try:
        found = json_text.parse(text)
    except ValueError:
        return _NOT
    if kind == "number":
        return found if _kind(found) in ("integer", "number") else _NOT
    if kind == "integer" and isinstance(found, float) and found.is_integer():
        return int(found)
    return found if _kind(found) == kind else _NOT


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) else "number"
    return "array" if isinstance(value, list) else "object"


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(DEPTH):
        if not isinstance(schema, Mapping):
            return {}
        if "$ref" not in schema:
            return schema
        schema = _referred(str(schema["$ref"]), root)
    return {}


def _referred(ref: str, root: Mapping[str, Any]) -> Any:
    """What a reference within the schema means; nothing for any other."""
    found: Any = root if ref.startswith("#") else None
    for part in ref.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


def _split(pairs: Iterable[str], option: str) -> list[tuple[str, str]]:
    found = [pair.partition("=") for pair in pairs]
    wrong = next((name for name, sign, _ in found if not sign or not name), None)
    if wrong is not None:
        raise WrongUsage(f"{option}: NAME=VALUE, not '{wrong}'")
    return [(name, text) for name, _, text in found]


def _of_file(file: Path) -> dict[str, Any]:
    if str(file) != "-" and file.suffix.lower() != ".json":
        return dict(read(file).data)
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise WrongUsage(f"--args-file: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise WrongUsage(f"--args-file: {file} cannot be read: {error}") from None
    found = json_text.read(text, f"--args-file: {file}")
    if not isinstance(found, dict):
        raise WrongUsage(f"--args-file: {file} has no object")
    return found
