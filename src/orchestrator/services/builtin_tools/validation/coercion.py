"""Values made to fit a schema where nothing has to be guessed: "12" where a whole number is wanted is 12."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

MAX_DEPTH = 50
_WORDS = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
_INTEGER = re.compile(r"[-+]?\d{1,100}\Z", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\d{1,100}(\.\d{0,100})?|\.\d{1,100})([eE][-+]?\d{1,3})?\Z", re.ASCII)


class Coercion:
    """One value and its schema. `changes` says what was changed, and where."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self.changes: list[str] = []

    def value(self, value: Any, schema: Any, path: str = "", depth: int = 0) -> Any:
        schema = self._resolved(schema)
        if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
            return value
        for part in _list(schema.get("allOf")):
            value = self.value(value, part, path, depth + 1)
        value = self._scalar(value, schema, path)
        if isinstance(value, dict):
            return self._object(value, schema, path, depth)
        if isinstance(value, list):
            first = _list(schema.get("prefixItems"))
            rest = schema.get("items", {})
            return [
                self.value(one, first[place] if place < len(first) else rest, f"{path}/{place}", depth + 1)
                for place, one in enumerate(value)
            ]
        return value

    def _object(self, value: dict[str, Any], schema: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        other = schema.get("additionalProperties", {})
        found = {
            name: self.value(one, properties.get(name, other), f"{path}/{name}", depth + 1)
            for name, one in value.items()
        }
        for name, inner in properties.items():
            inner = self._resolved(inner)
            if name not in found and isinstance(inner, Mapping) and "default" in inner:
                found[name] = inner["default"]
                self.changes.append(f"{path}/{name}: filled with its default")
        return found

    def _scalar(self, value: Any, schema: Mapping[str, Any], path: str) -> Any:
        kinds = [schema["type"]] if isinstance(schema.get("type"), str) else _list(schema.get("type"))
        enum = _list(schema.get("enum"))
        changed = value
        if kinds and not any(_is(value, kind) for kind in kinds):
            changed = next((new for kind in kinds if (new := _made(value, kind)) is not _NOTHING), value)
        if enum and changed not in enum and isinstance(changed, str):
            same = [one for one in enum if isinstance(one, str) and one.casefold() == changed.strip().casefold()]
            changed = same[0] if len(same) == 1 else changed
        if changed is not value:
            self.changes.append(f"{path or '/'}: {_short(value)} became {_short(changed)}")
        return changed

    def _resolved(self, schema: Any) -> Any:
        """A schema behind references into the same document."""
        for _ in range(MAX_DEPTH):
            reference = schema.get("$ref") if isinstance(schema, Mapping) else None
            if not isinstance(reference, str):
                break
            schema = self._at(reference)
        return schema

    def _at(self, reference: str) -> Any:
        found: Any = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


_NOTHING = object()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _is(value: Any, kind: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match kind:
        case "integer":
            return number and float(value).is_integer() if isinstance(value, float) else number
        case "number":
            return number
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    return False


def _made(value: Any, kind: Any) -> Any:
    maker = _MAKERS.get(kind) if isinstance(kind, str) else None
    return maker(value) if maker else _NOTHING


def _integer(value: Any) -> Any:
    if isinstance(value, str) and _INTEGER.match(value.strip()):
        return int(value.strip())
    found = _number(value)
    return int(found) if isinstance(found, float) and found.is_integer() else _NOTHING


def _number(value: Any) -> Any:
    if isinstance(value, str) and _NUMBER.match(text := value.strip()):
        found = int(text) if _INTEGER.match(text) else float(text)
        return found if math.isfinite(found) else _NOTHING
    return _NOTHING


def _truth(value: Any) -> Any:
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower(), _NOTHING)
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else _NOTHING


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (int, float)) else _NOTHING


def _read(kind: type) -> Callable[[Any], Any]:
    def made(value: Any) -> Any:
        try:
            found = json.loads(value) if isinstance(value, str) else None
        except (ValueError, RecursionError):
            found = None
        return found if isinstance(found, kind) else _NOTHING

    return made


_MAKERS: dict[str, Callable[[Any], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _truth,
    "null": lambda value: None if isinstance(value, str) and value.strip().lower() in ("", "null") else _NOTHING,
    "string": _text,
    "array": _read(list),
    "object": _read(dict),
}
