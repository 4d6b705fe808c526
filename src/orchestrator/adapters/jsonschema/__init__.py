"""JSON Schema, with the library jsonschema-rs."""

from __future__ import annotations

from orchestrator.adapters.jsonschema.compiled import CompiledSchemas

__all__ = ["CompiledSchemas"]
