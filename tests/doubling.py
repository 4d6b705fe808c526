"""The tool that tests have of every kind: it takes a number, and gives twice that."""

from __future__ import annotations

from typing import Any

NUMBER: dict[str, Any] = {
    "type": "object",
    "required": ["number"],
    "additionalProperties": False,
    "properties": {
        "number": {"type": "integer", "maximum": 1000},
        "words": {"type": "array", "items": {"type": "string"}},
    },
}
TWICE: dict[str, Any] = {"type": "object", "required": ["twice"], "properties": {"twice": {"type": "integer"}}}
