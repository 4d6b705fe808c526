"""Data of any usual shape, as columns."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

MOST_ROWS, MOST_COLUMNS = 100_000, 100


class Problem(Exception):
    """What is wrong with the arguments."""


class Kind(StrEnum):
    NUMBER = "number"
    TIME = "time"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """`values` are floats, datetimes or texts; None where there is none."""

    name: str
    kind: Kind
    values: list[Any]


def table_of(data: Any) -> list[Column]:
    """Objects, lists of numbers, columns by name, numbers by name, or a text in JSON or CSV. Raises Problem."""
    if isinstance(data, str):
        data = _parsed(data)
    rows: dict[str, list[Any]]
    if isinstance(data, Mapping):
        rows = _by_name(data)
    elif isinstance(data, list) and data:
        rows = _by_row(data)
    else:
        raise Problem("data: there is nothing to show")
    if not rows or len(rows) > MOST_COLUMNS:
        raise Problem(f"data: 1 to {MOST_COLUMNS} columns")
    count = max(map(len, rows.values()))
    if not 1 <= count <= MOST_ROWS:
        raise Problem(f"data: 1 to {MOST_ROWS:,} rows")
    return [_column(name, values + [None] * (count - len(values))) for name, values in rows.items()]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        found = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise Problem(f"data: neither JSON nor CSV: {error}") from None
    if not found or any(None in row for row in found):
        raise Problem("data: a text has to be JSON, or CSV with a first line of names")
    return found


def _by_name(data: Mapping[str, Any]) -> dict[str, list[Any]]:
    for name in ("data", "rows", "results", "items"):
        rows = data.get(name)
        if isinstance(rows, list) and rows and all(isinstance(row, Mapping) for row in rows):
            return _by_row(rows)
    if data and all(isinstance(value, list) for value in data.values()):
        return {str(name): list(values) for name, values in data.items()}
    if data and all(_is_number(value) for value in data.values()):
        return {"name": [str(name) for name in data], "value": list(data.values())}
    raise Problem("data: an object has to hold lists of equal meaning, or numbers, by name")


def _by_row(data: list[Any]) -> dict[str, list[Any]]:
    if len(data) > MOST_ROWS:
        raise Problem(f"data: at most {MOST_ROWS:,} rows")
    if all(isinstance(row, Mapping) for row in data):
        names = list(dict.fromkeys(str(name) for row in data for name in row))
        if len(names) > MOST_COLUMNS:
            raise Problem(f"data: at most {MOST_COLUMNS} columns")
        return {name: [row.get(name) for row in data] for name in names}
    if all(isinstance(row, list) for row in data):
        width = max(map(len, data))
        if width > MOST_COLUMNS:
            raise Problem(f"data: at most {MOST_COLUMNS} columns")
        return {f"column {at + 1}": [row[at] if at < len(row) else None for row in data] for at in range(width)}
    return {"value": list(data)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _column(name: str, values: list[Any]) -> Column:
    present = [value for value in values if value not in (None, "")]
    for kind, read in ((Kind.NUMBER, _number), (Kind.TIME, _time)):
        found = [read(value) for value in present]
        if found and None not in found:
            known = iter(found)
            return Column(name, kind, [None if value in (None, "") else next(known) for value in values])
    return Column(name, Kind.TEXT, [None if value is None else _text(value) for value in values])


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str) or len(value) < 8:
        return None
    try:
        return datetime.fromisoformat(value.strip()).replace(tzinfo=None)
    except ValueError:
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
