"""Schemas that samples fit, and how good a table is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from orchestrator.services.builtin_tools.data.cleaning import kind_of
from orchestrator.services.builtin_tools.data.table import Rows, columns_of, key_of

DRAFT = "https://json-schema.org/draft/2020-12/schema"
MAX_DEPTH = 50
FORMATS = (
    ("date-time", re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[-+]\d\d:\d\d)\Z", re.ASCII)),
    ("date", re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)),
    ("uuid", re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")),
    ("email", re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(\.[\w-]{1,63}){1,8}\Z", re.ASCII)),
    ("uri", re.compile(r"https?://[\x21-\x7e]{1,2000}\Z")),
)


def inferred(data: Any) -> dict[str, Any]:
    """A JSON Schema (2020-12) that the data fits."""
    return {"$schema": DRAFT, **_of([data], 0)}


def _of(samples: list[Any], depth: int) -> dict[str, Any]:
    kinds = list(dict.fromkeys(kind_of(one) for one in samples))
    if "integer" in kinds and "number" in kinds:
        kinds.remove("integer")
    if not kinds or depth > MAX_DEPTH:
        return {}
    found: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    if texts := [one for one in samples if isinstance(one, str)]:
        found |= _format(texts)
    if objects := [one for one in samples if isinstance(one, dict)]:
        names = columns_of(objects)
        found["properties"] = {name: _of([one[name] for one in objects if name in one], depth + 1) for name in names}
        found["required"] = [name for name in names if all(name in one for one in objects)]
    if lists := [one for one in samples if isinstance(one, list)]:
        found["items"] = _of([one for several in lists for one in several], depth + 1)
    return found


def _format(texts: Iterable[str]) -> dict[str, str]:
    several = list(texts)
    for name, pattern in FORMATS:
        if all(pattern.match(one) for one in several):
            return {"format": name}
    return {}


def quality(rows: Rows, invalid: int | None) -> dict[str, float]:
    """Shares between 0 and 1: cells that have a value (completeness), rows that are there once (uniqueness), values of
    the type that most of their column have (consistency) and, with a number of invalid rows, those that fit the schema
    (validity). An empty table has none."""
    columns = columns_of(rows)
    if not rows or not columns:
        return {}
    values = {name: [row[name] for row in rows if row.get(name) is not None] for name in columns}
    there = sum(map(len, values.values()))
    usual = sum(max(Counter(_kind(one) for one in several).values(), default=0) for several in values.values())
    found = {
        "completeness": there / (len(rows) * len(columns)),
        "uniqueness": len({key_of(row) for row in rows}) / len(rows),
        "consistency": usual / there if there else 1.0,
    }
    if invalid is not None:
        found["validity"] = 1 - invalid / len(rows)
    return found


def _kind(value: Any) -> str:
    kind = kind_of(value)
    return "number" if kind == "integer" else kind
