"""JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Schemas(Protocol):
    """Checks values against schemas of any draft; 2020-12 where none is named. Nothing outside a schema is fetched."""

    def violations(self, schema: Mapping[str, Any], value: Any) -> tuple[Mapping[str, Any], ...]:
        """At most 50, in the order of their paths: `path` (JSON Pointer into the value), `message`, `schema_path`,
        `keyword`. Raises InvalidRequest for a schema that is none."""

    def check(self, schema: Mapping[str, Any]) -> None:
        """Raises InvalidRequest for a schema that is none, or that refers to another document."""
