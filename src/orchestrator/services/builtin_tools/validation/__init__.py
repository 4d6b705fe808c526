"""Data held to JSON Schemas, and schemas made from data."""

from orchestrator.services.builtin_tools.validation.tool import Validation

__all__ = ["Validation"]
