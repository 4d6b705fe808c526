"""The tool `validation`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest, NotAvailable, ToolFailed
from orchestrator.domain.tool import SideEffect
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.schemas import Schemas
from orchestrator.services.builtin_tools.data.table import parsed, rows_of
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    TEXT,
    choice,
    described,
    fields,
    needs,
    offered,
    results,
)
from orchestrator.services.builtin_tools.validation.coercion import Coercion
from orchestrator.services.builtin_tools.validation.extraction import found_fields, found_json
from orchestrator.services.builtin_tools.validation.inference import inferred, quality

ACTIONS = ("validate", "extract_structured", "infer_schema", "quality_check")
MODES = ("strict", "lenient", "report_only")
MAX_TEXT = 8 << 20  # characters
MOST_ERRORS, MOST_WARNINGS, SHOWN = 50, 100, 500
TIMEOUT = 60.0
_SCHEMA = {"type": ["object", "boolean"], "description": "A JSON Schema."}
_ANY_CASE = [*MODES, *(mode.upper() for mode in MODES)]
_INPUT = fields(
    {
        "action": choice(ACTIONS, "What to do.", default="validate"),
        "data": {"description": "Any JSON value; a text is read as JSON or CSV unless the schema wants a text."},
        "schema": _SCHEMA,
        "mode": choice(
            _ANY_CASE,
            "strict; lenient: values are first made to fit where nothing has to be guessed; report_only: success is "
            "true in any case.",
            default="strict",
        ),
        "text": described(TEXT, "extract_structured: where to look.", maxLength=MAX_TEXT),
        "model": described(TEXT, "extract_structured with a model is not available here: leave it out."),
        "threshold": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "default": 0.8,
            "description": "quality_check: the least score that passes.",
        },
    },
    allOf=[
        needs("validate", "data", "schema"),
        needs("extract_structured", "text", "schema"),
        needs("infer_schema", "data"),
        needs("quality_check", "data"),
    ],
)
_OUTPUT = results(
    {
        "action": TEXT,
        "success": FLAG,
        "valid": FLAG,
        "errors": {"type": "array", "items": {"type": "object"}},
        "warnings": {"type": "array", "items": TEXT},
        "data": {},
        "mode": TEXT,
        "rows_validated": COUNT,
        "schema": {"type": "object"},
    },
    ("action", "success"),
)
Given = Mapping[str, Any]


class Validation:
    """`BuiltinTool`. `schemas` belongs to it alone: it is used in a thread."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._turn = asyncio.Lock()
        self._ways: dict[str, Callable[[Given], dict[str, Any]]] = {
            "validate": self._validate,
            "extract_structured": self._extract,
            "infer_schema": self._infer,
            "quality_check": self._quality,
        }
        self.tool = offered(
            "validation",
            "data",
            "Holds data to a JSON Schema. Actions: validate (every violation with its path), extract_structured (finds "
            "JSON or 'name: value' lines in a text and makes them fit), infer_schema (a schema that the data fits), "
            "quality_check (completeness, uniqueness, consistency, validity).",
            SideEffect.READ,
            _INPUT,
            _OUTPUT,
            TIMEOUT,
        )

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        action = given.get("action", "validate")
        if action == "extract_structured" and given.get("model"):
            raise NotAvailable(
                "model: extraction with a model is not available; leave it out to look for data in the text"
            )
        async with self._turn:
            told = await asyncio.to_thread(self._ways[action], given)
        return CallOutcome({"action": action, **told})

    def _validate(self, given: Given) -> dict[str, Any]:
        schema = _schema(given["schema"])
        return self._held(_read(given["data"], schema), schema, given)

    def _held(self, data: Any, schema: Mapping[str, Any], given: Given) -> dict[str, Any]:
        """The data against the schema; where that is for one object and the data are several, each of them."""
        mode = str(given.get("mode", "strict")).lower()
        warnings: list[str] = []
        if mode == "lenient":
            coercion = Coercion(schema)
            if _by_row(data, schema):
                data = [coercion.value(row, schema, f"/{place}") for place, row in enumerate(data)]
            else:
                data = coercion.value(data, schema)
            warnings = coercion.changes[:MOST_WARNINGS]
        errors, _ = self._errors(data, schema)
        return {
            "success": not errors or mode == "report_only",
            "valid": not errors,
            "is_valid": not errors,
            "errors": errors,
            "warnings": warnings,
            "data": data,
            "mode": mode,
            "rows_validated": len(data) if _by_row(data, schema) else 1,
        }

    def _errors(self, data: Any, schema: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
        """The first errors, and how many rows have one."""
        if not _by_row(data, schema):
            found = [_error(one, data, "") for one in self._schemas.violations(schema, data)]
            return found, int(bool(found))
        errors: list[dict[str, Any]] = []
        wrong = 0
        for place, row in enumerate(data):
            violations = self._schemas.violations(schema, row)
            wrong += bool(violations)
            errors += [_error(one, row, f"/{place}") for one in violations[: MOST_ERRORS - len(errors)]]
        return errors, wrong

    def _extract(self, given: Given) -> dict[str, Any]:
        schema, text = _schema(given["schema"]), given["text"]
        wanted = list if schema.get("type") == "array" else dict
        data, method = found_json(text, wanted), "json"
        if data is None and wanted is dict:
            data, method = found_fields(text, schema), "fields"
        if not data:
            raise ToolFailed("The text holds neither JSON nor a line 'name: value' for a property of the schema.")
        return {**self._held(data, schema, {"mode": "lenient", **given}), "method": method}

    @staticmethod
    def _infer(given: Given) -> dict[str, Any]:
        data = _read(given["data"], {})
        return {"success": True, "schema": inferred(data), "rows_validated": len(data) if isinstance(data, list) else 1}

    def _quality(self, given: Given) -> dict[str, Any]:
        rows = rows_of(_bounded(given["data"]), None)
        wrong = None
        errors: list[dict[str, Any]] = []
        if "schema" in given:
            schema = _schema(given["schema"])
            items = schema.get("items")
            schema = items if schema.get("type") == "array" and isinstance(items, Mapping) else schema
            errors, wrong = self._errors(list(rows), {"type": "object", **schema})
        shares = quality(rows, wrong)
        score = sum(shares.values()) / len(shares) if shares else 0.0
        threshold = float(given.get("threshold", 0.8))
        passed = bool(shares) and score >= threshold
        return {
            "success": passed,
            "valid": passed,
            "passed": passed,
            "score": score,
            "quality_score": score,
            "threshold": threshold,
            "dimensions": shares,
            "errors": errors,
            "warnings": [f"{name} is {share:.3f}" for name, share in shares.items() if share < threshold],
            "rows_validated": len(rows),
        }


def _schema(schema: Any) -> Mapping[str, Any]:
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    found: Mapping[str, Any] = schema
    return found


def _by_row(data: Any, schema: Mapping[str, Any]) -> bool:
    return isinstance(data, list) and schema.get("type") == "object"


def _bounded(data: Any) -> Any:
    if isinstance(data, str) and len(data) > MAX_TEXT:
        raise InvalidRequest(f"data: at most {MAX_TEXT:,} characters")
    return data


def _read(data: Any, schema: Mapping[str, Any]) -> Any:
    """A text is read unless the schema wants a text."""
    data = _bounded(data)
    kinds = schema.get("type")
    if not isinstance(data, str) or "string" in (kinds if isinstance(kinds, list) else [kinds]):
        return data
    if data.strip() and (data.lstrip()[0] in "[{" or "\n" not in data.strip()):
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            if data.lstrip()[0] in "[{" or kinds is None:
                return data
    return parsed(data, None)


def _error(violation: Mapping[str, Any], data: Any, prefix: str) -> dict[str, Any]:
    return {
        "message": violation["message"],
        "path": prefix + violation["path"],
        "schema_path": violation["schema_path"],
        "instance": _shown(_at(data, violation["path"])),
        "validator": violation["keyword"],
    }


def _at(data: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        data = data[int(part)] if isinstance(data, list) else data[part]
    return data


def _shown(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= SHOWN else f"{text[:SHOWN]}..."
