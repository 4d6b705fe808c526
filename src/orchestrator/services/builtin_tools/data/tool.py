"""The tool `data-processing`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.tool import SideEffect
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.files import ReadableFiles
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.data.cleaning import ASPECTS, FILLS
from orchestrator.services.builtin_tools.data.merging import JOINS, STRATEGIES
from orchestrator.services.builtin_tools.data.table import READ, WRITTEN
from orchestrator.services.builtin_tools.data.work import ACTIONS
from orchestrator.services.builtin_tools.offer import FLAG, TEXT, Schema, choice, described, fields, offered, results

FUNCTION = "orchestrator.services.builtin_tools.data.work:process"
TIMEOUT = 120.0
MAX_TEXT = 64 << 20  # characters of all texts of a call
_PATH = re.compile(r"[^\n\r\[{]{1,1000}\.(csv|tsv|json|jsonl|ndjson|txt)\Z", re.IGNORECASE)
_DATA: Schema = {
    "type": ["array", "object", "string"],
    "description": "The table: a list of objects, an object, CSV or JSON as text, or the path of a file below the "
    "tools' folder that ends in .csv, .tsv, .json, .jsonl or .txt.",
}
_COLUMNS: Schema = {"type": ["string", "array"], "items": TEXT}
_LIST: Schema = {"type": "array", "items": {"type": "object"}}
_INPUT = fields(
    {
        "action": choice(ACTIONS, "What to do."),
        "data": _DATA,
        "input_data": described(_DATA, "The same as data."),
        "format": choice(READ, "Format of a text in data; without it the text is looked at."),
        "input_format": choice(READ, "The same as format."),
        "output_format": choice(WRITTEN, "Format of the result's data.", default="json"),
        "operation": {
            "type": "object",
            "description": "The parameters of the action may stand in here: criteria, transformations, group_by, ...",
        },
        "operations": described(
            _LIST,
            "transform: one after the other, each with its type: filter {condition} or {field, operator, value}, "
            "aggregate {group_by, aggregations}, rename_fields {mapping}, add_field {field, value or expression}, "
            "deduplicate {columns, keep}, cast {columns: {name: type}}, fill_missing {strategy: {name: value}}, "
            "calculate {expressions: {name: expression}}, select_fields, drop_fields {columns}, sort {by, descending}, "
            "limit {count}.",
        ),
        "transform_spec": {
            "type": "object",
            "additionalProperties": TEXT,
            "description": "transform: makes one object {field: expression}; the names are data, parsed_data and the "
            "function json.loads.",
        },
        "criteria": {
            "type": ["string", "object", "array"],
            "description": "filter: an expression such as price > 3 and city == 'Rome', {field: value}, "
            "{field: {gt: 3}}, {field, operator, value}, or a list of them; also {and: [...]}, {or: [...]}, "
            "{not: ...}.",
        },
        "condition": described(TEXT, "filter: an expression."),
        "group_by": described(_COLUMNS, "aggregate: columns whose values make a group."),
        "aggregations": {
            "type": "object",
            "description": "aggregate: {column: function} or {name: {function, column}}; sum, avg, mean, median, std, "
            "var, min, max, count, count_distinct, first, last, list.",
        },
        "index": described(_COLUMNS, "pivot: columns that name the rows of the result."),
        "columns": described(_COLUMNS, "pivot: columns whose values become columns. clean: columns to look at."),
        "values": described(_COLUMNS, "pivot: columns that fill the cells."),
        "aggfunc": described(TEXT, "pivot: function for several values of a cell.", default="sum"),
        "fill_value": {"description": "pivot: for cells without a value.", "default": None},
        "profiling_options": {
            "type": "array",
            "items": choice(ASPECTS, "An aspect."),
            "description": "profile: aspects; all without it.",
        },
        "remove_duplicates": described(FLAG, "clean: rows that are there before.", default=False),
        "handle_missing": choice(("drop", *FILLS), "clean: what becomes of missing values."),
        "remove_outliers": described(
            FLAG, "clean: rows with a number 1.5 interquartile ranges beyond the quartiles.", default=False
        ),
        "datasets": {
            "type": ["array", "object"],
            "items": _DATA,
            "additionalProperties": _DATA,
            "description": "merge: the tables.",
        },
        "merge_strategy": choice(STRATEGIES, "merge: concat (rows one after the other), join, combine (fill up)."),
        "join_on": described(_COLUMNS, "merge: columns whose values must be equal."),
        "join_type": choice(JOINS, "merge: which rows of a join stay.", default="inner"),
    },
    ("action",),
)
_OUTPUT = results({"processed_data": results({"action": TEXT}, ("action",))}, ("processed_data",))


class DataProcessing:
    """`BuiltinTool`."""

    def __init__(self, apart: Apart, files: ReadableFiles) -> None:
        self._apart = apart
        self._files = files
        self.tool = offered(
            "data-processing",
            "data",
            "Works on tables: convert (between JSON, JSON lines, CSV, TSV and Markdown), filter, aggregate (group and "
            "count, sum, ...), transform (a list of operations), profile (types, gaps, statistics), pivot, clean, "
            "merge.",
            SideEffect.READ,
            _INPUT,
            _OUTPUT,
            TIMEOUT,
        )

    async def run(self, order: CallOrder) -> CallOutcome:
        given = dict(order.arguments)
        for name in ("data", "input_data"):
            if name in given:
                given[name] = await self._read(given[name])
        if "datasets" in given:
            tables = given["datasets"]
            if isinstance(tables, Mapping):
                given["datasets"] = {name: await self._read(one) for name, one in tables.items()}
            else:
                given["datasets"] = [await self._read(one) for one in tables]
        return CallOutcome(await self._apart.call(FUNCTION, arguments=given))

    async def _read(self, data: Any) -> Any:
        """The content of a file where `data` is its path."""
        if not isinstance(data, str):
            return data
        if not _PATH.match(data):
            return self._bounded(data)
        content = await self._files.read(data)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"'{data}' is not UTF-8: byte {error.start:,}") from None
        return self._bounded(text)

    @staticmethod
    def _bounded(text: str) -> str:
        if len(text) > MAX_TEXT:
            raise InvalidRequest(f"data: at most {MAX_TEXT:,} characters")
        return text
