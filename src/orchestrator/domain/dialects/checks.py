"""Checks on the shape of a client's request that name the field when they fail."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.errors import InvalidRequest, Unsupported


def as_list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidRequest(f"'{where}' must be an array", details={"param": where})
    return value


def as_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"'{where}' must be an object", details={"param": where})
    return value


def as_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"'{where}' must be a string", details={"param": where})
    return value


def unsupported(where: str, why: str) -> Unsupported:
    return Unsupported(f"'{where}': {why}", details={"param": where})
