"""Schemas compiled once and kept. Patterns run in an engine whose time is linear in the text, so look-around and back
references are refused; a reference to another document is refused too, and nothing is ever fetched."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import jsonschema_rs
import msgspec

from orchestrator.domain.errors import InvalidRequest

MOST_COMPILED = 512
MOST_PROBLEMS = 50
MAX_SCHEMA = 1 << 20  # bytes as JSON
MAX_DEPTH = 100
MAX_MESSAGE = 500  # characters
PATTERN_SIZE = 1 << 20  # bytes of a compiled pattern
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=PATTERN_SIZE, dfa_size_limit=PATTERN_SIZE)


class CompiledSchemas:
    """`Schemas`."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[bytes, jsonschema_rs.Validator] = OrderedDict()

    def violations(self, schema: Mapping[str, Any], value: Any) -> tuple[Mapping[str, Any], ...]:
        validator = self._validator(schema)
        try:
            msgspec.json.encode(value)  # refuses what would overflow the stack of the validator
            found = list(islice(validator.iter_errors(value), MOST_PROBLEMS))
        except (ValueError, RecursionError, TypeError, OverflowError) as error:
            return (_whole(f"cannot be checked: {error}"),)
        found.sort(key=lambda error: [str(part) for part in error.instance_path])
        return tuple(_problem(error) for error in found)

    def check(self, schema: Mapping[str, Any]) -> None:
        self._validator(schema)

    def _validator(self, schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
        key = _key(schema)
        known = self._compiled.get(key)
        if known is not None:
            self._compiled.move_to_end(key)
            return known
        compiled = self._compiled[key] = _compiled(schema)
        if len(self._compiled) > MOST_COMPILED:
            self._compiled.popitem(last=False)
        return compiled


def _key(schema: Mapping[str, Any]) -> bytes:
    try:
        encoded = msgspec.json.encode(schema)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequest(f"this is no JSON Schema: {error}") from None
    if len(encoded) > MAX_SCHEMA:
        raise InvalidRequest(f"a schema has at most {MAX_SCHEMA:,} bytes")
    return hashlib.sha256(encoded).digest()


def _compiled(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    plain = dict(schema)
    _check_depth(plain)
    try:
        return jsonschema_rs.validator_for(plain, offline=True, pattern_options=_PATTERNS, validate_formats=True)
    except jsonschema_rs.ValidationError as error:
        where = _pointer(error.instance_path)
        raise InvalidRequest(
            f"this is no JSON Schema that can be used: {where or '/'}: {error.message[:MAX_MESSAGE]}",
            details={"path": where},
        ) from None
    except (jsonschema_rs.ReferencingError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"this is no JSON Schema that can be used: {str(error)[:MAX_MESSAGE]}") from None


def _check_depth(schema: Any) -> None:
    level = [schema]
    for _ in range(MAX_DEPTH):
        level = [item for one in level for item in _items(one)]
        if not level:
            return
    raise InvalidRequest(f"a schema is nested at most {MAX_DEPTH} levels deep")


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _problem(error: jsonschema_rs.ValidationError) -> Mapping[str, Any]:
    return {
        "path": _pointer(error.instance_path),
        "message": error.message[:MAX_MESSAGE],
        "schema_path": _pointer(error.schema_path),
        "keyword": error.kind.name,
    }


def _whole(message: str) -> Mapping[str, Any]:
    return {"path": "", "message": message[:MAX_MESSAGE], "schema_path": "", "keyword": ""}


def _pointer(parts: Sequence[str | int]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)
