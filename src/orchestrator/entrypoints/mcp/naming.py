"""Tools and artifacts as MCP names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.artifact import is_artifact_id
from orchestrator.domain.tool import SideEffect, Tool

NAME = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
SCHEME = "artifact://"
TEMPLATE = "artifact://{artifact_id}"
ANYTHING: Mapping[str, Any] = {"type": "object"}
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]+")
_MOST_WORDS = 80  # characters of a name in front of its UUID
_UUID = 36


def mcp_name(tool: Tool) -> str:
    """The tool's own name where MCP allows it; otherwise what is left of it, and its id."""
    if NAME.match(tool.name):
        return tool.name
    words = _FOREIGN.sub("-", tool.name).strip("-")[:_MOST_WORDS]
    return f"{words}-{tool.tool_id}".lstrip("-")


def own_name(name: str) -> str:
    """By what a tool is found, given its name in MCP."""
    tail = name[-_UUID:]
    return tail if len(name) > _UUID and name[-_UUID - 1] == "-" and is_artifact_id(tail) else name


def object_schema(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """The schema of arguments. Its root must be said to be an object; one that older clients could not read is left
    out, the arguments are checked here anyway."""
    if schema is None or not _readable(schema):
        return dict(ANYTHING)
    return {**schema, "type": "object"}


def result_schema(schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The schema of results, where they are objects: older clients know no others."""
    if schema is None or schema.get("type") != "object" or not _readable(schema):
        return None
    return dict(schema)


def hints(effect: SideEffect) -> dict[str, bool]:
    """Fields of the annotations."""
    return {
        "read_only_hint": effect is SideEffect.READ,
        "destructive_hint": effect is SideEffect.DANGEROUS,
        "open_world_hint": effect in (SideEffect.EXTERNAL, SideEffect.DANGEROUS),
    }


def artifact_uri(artifact_id: str) -> str:
    return f"{SCHEME}{artifact_id}"


def artifact_of(uri: str) -> str | None:
    """The id of the artifact, None when the URI is none of ours."""
    found = uri.removeprefix(SCHEME).rstrip("/")
    return found if uri.startswith(SCHEME) and is_artifact_id(found) else None


def _readable(schema: Mapping[str, Any]) -> bool:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    return (
        isinstance(properties, Mapping)
        and all(isinstance(one, Mapping | bool) for one in properties.values())
        and isinstance(required, list | tuple)
        and all(isinstance(one, str) for one in required)
        and isinstance(schema.get("$schema", ""), str)
    )
