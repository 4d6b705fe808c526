"""Which arguments of a call are secret, and records without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.domain.tool_call import ToolCall

MASK = "***"
DEPTH = 150  # levels of a schema that are looked at
_BRANCHES = ("allOf", "anyOf", "oneOf")


def secret_paths(schema: Mapping[str, Any] | None, arguments: Any) -> tuple[str, ...]:
    """JSON Pointers to the values whose schema says `writeOnly` or `format: password`; and to those for which it could
    not be found out."""
    if schema is None:
        return ()
    return tuple(dict.fromkeys(_Look(schema).secret(schema, arguments, "", DEPTH)))


def masked(value: Any, paths: Sequence[str]) -> Any:
    """A copy with `***` in these places; where that is all of it, in each."""
    if "" in paths and isinstance(value, Mapping):
        return dict.fromkeys(value, MASK)
    for path in paths:
        value = _with_mask(value, [_plain(part) for part in path.split("/")[1:]])
    return value


def shown(call: ToolCall) -> ToolCall:
    """The call as anybody may see it who may see it at all."""
    return replace(call, arguments=masked(call.arguments, call.secrets)) if call.secrets else call


def told(
    problems: Sequence[Mapping[str, Any]], secrets: Sequence[str], arguments: Any
) -> tuple[Mapping[str, Any], ...]:
    """Violations without the values of secret arguments in their messages."""
    values = [str(_at(arguments, secret)) for secret in secrets]

    def tells(problem: Mapping[str, Any]) -> bool:
        path, message = str(problem.get("path", "")), str(problem.get("message", ""))
        within = any(f"{path}/".startswith(f"{secret}/") for secret in secrets)
        return within or any(value in message for value in values if value)

    return tuple(
        {**problem, "message": f"does not fit '{problem.get('keyword', '')}'"} if tells(problem) else problem
        for problem in problems
    )


def _at(value: Any, path: str) -> Any:
    for part in path.split("/")[1:]:
        value = value[_plain(part)] if isinstance(value, Mapping) else value[int(part)]
    return value


class _Look:
    """Looks at each part of a schema once for each value."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._seen: set[tuple[int, str]] = set()

    def secret(self, schema: Any, value: Any, path: str, depth: int) -> Iterator[str]:
        if not isinstance(schema, Mapping) or (id(schema), path) in self._seen:
            return
        self._seen.add((id(schema), path))
        if depth == 0 or schema.get("writeOnly") is True or schema.get("format") == "password":
            yield path
            return
        for name in _BRANCHES:
            branches = schema.get(name)
            for branch in branches if isinstance(branches, list) else ():
                yield from self.secret(branch, value, path, depth - 1)
        yield from self.secret(_referred(schema.get("$ref"), self._root), value, path, depth - 1)
        for below, item, name in _inside(schema, value):
            yield from self.secret(below, item, f"{path}/{name}", depth - 1)


def _inside(schema: Mapping[str, Any], value: Any) -> Iterator[tuple[Any, Any, str]]:
    """Schema, value and name of what is in a value."""
    if isinstance(value, Mapping):
        properties = schema.get("properties")
        named = properties if isinstance(properties, Mapping) else {}
        for name, item in value.items():
            yield named.get(name, schema.get("additionalProperties")), item, _escaped(str(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield schema.get("items"), item, str(index)


def _referred(ref: Any, root: Mapping[str, Any]) -> Any:
    """What a reference within the schema means."""
    if ref == "#":
        return root
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return None
    found: Any = root
    for part in ref[2:].split("/"):
        found = found.get(_plain(part)) if isinstance(found, Mapping) else None
    return found


def _with_mask(value: Any, parts: Sequence[str]) -> Any:
    if not parts:
        return MASK
    first, rest = parts[0], parts[1:]
    if isinstance(value, Mapping) and first in value:
        return {**value, first: _with_mask(value[first], rest)}
    if isinstance(value, list) and first.isdecimal() and int(first) < len(value):
        index = int(first)
        return [*value[:index], _with_mask(value[index], rest), *value[index + 1 :]]
    return value


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _plain(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
