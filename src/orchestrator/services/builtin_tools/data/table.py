"""Tables as lists of objects, read from what a caller gives and written in the format that is asked for."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest

Row = dict[str, Any]
Rows = list[Row]

MAX_ROWS = 1_000_000
READ = ("json", "jsonl", "csv", "tsv")
WRITTEN = (*READ, "markdown")
_MARKS = {"csv": ",", "tsv": "\t"}
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})\Z", re.ASCII)
# With a point, or a sign in the exponent: `12e3` may be anything.
_FLOAT = re.compile(
    r"-?(0|[1-9]\d{0,300})?\.\d{1,300}([eE][-+]?\d{1,3})?\Z|-?[1-9]\d{0,300}[eE][-+]\d{1,3}\Z", re.ASCII
)
csv.field_size_limit(64 << 20)


def rows_of(data: Any, form: str | None) -> Rows:
    """A table from a list of objects, one object, or text. An object with exactly one list of objects in it is that
    list. Raises InvalidRequest."""
    if isinstance(data, str):
        data = parsed(data, form)
    if isinstance(data, Mapping):
        inner = [value for value in data.values() if _is_table(value)]
        data = inner[0] if len(inner) == 1 else [data]
    if not isinstance(data, list):
        raise InvalidRequest("data: a list of objects, an object, or CSV or JSON as text")
    if len(data) > MAX_ROWS:
        raise InvalidRequest(f"data: more than {MAX_ROWS:,} rows")
    return [dict(one) if isinstance(one, Mapping) else {"value": one} for one in data]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def parsed(text: str, form: str | None) -> Any:
    """What a text says. Without a format it is looked at."""
    form = form or _looks_like(text)
    if form in _MARKS:
        return _from_csv(text, _MARKS[form])
    try:
        if form == "jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        if form == "json":
            return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"data: not {form}: {error}") from None
    raise InvalidRequest(f"format: one of {', '.join(READ)}")


def _looks_like(text: str) -> str:
    """JSON begins with a bracket, JSON lines with an object on a line of its own; a head with tabs and no comma is
    TSV."""
    first, _, rest = text.lstrip().partition("\n")
    if first[:1] == "{" and first.rstrip()[-1:] == "}" and rest.lstrip()[:1] == "{":
        return "jsonl"
    if first[:1] in ("[", "{"):
        return "json"
    return "tsv" if "\t" in first and "," not in first else "csv"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _from_csv(text: str, mark: str) -> Rows:
    try:
        reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=mark, strict=True)
        head = next(reader, [])
        if len(set(head)) != len(head):
            raise InvalidRequest("data: two columns have the same name")
        found: Rows = []
        for number, cells in enumerate(reader, 1):
            if not cells:
                continue
            if len(cells) != len(head):
                raise InvalidRequest(f"data: row {number:,} has {len(cells)} cells for {len(head)} columns")
            found.append({name: cell_value(cell) for name, cell in zip(head, cells, strict=True)})
            if number > MAX_ROWS:
                raise InvalidRequest(f"data: more than {MAX_ROWS:,} rows")
    except csv.Error as error:
        raise InvalidRequest(f"data: not CSV: {error}") from None
    return found


def cell_value(text: str) -> Any:
    """Numbers in their plain form are numbers, so `007` stays text; an empty cell is null; true and false are truth
    values."""
    if text == "":
        return None
    if _INTEGER.match(text):
        return int(text)
    if _FLOAT.match(text):
        value = float(text)
        return value if math.isfinite(value) else text
    return {"true": True, "false": False}.get(text.lower(), text)


def columns_of(rows: Iterable[Row]) -> list[str]:
    """All columns, in the order in which they come up."""
    found: dict[str, None] = {}
    for row in rows:
        found.update(dict.fromkeys(row))
    return list(found)


def written(rows: Rows, form: str) -> Any:
    """The rows themselves for `json`, text for the other formats."""
    if form == "json":
        return rows
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if form in _MARKS:
        return _to_csv(rows, _MARKS[form])
    if form == "markdown":
        return _to_markdown(rows)
    raise InvalidRequest(f"output_format: one of {', '.join(WRITTEN)}")


def _to_csv(rows: Rows, mark: str) -> str:
    columns = columns_of(rows)
    if not columns:
        return ""
    lines = [columns, *([cell_text(row.get(name)) for name in columns] for row in rows)]
    # The library's writer does not quote a carriage return unless it ends its lines with one.
    return "".join(mark.join(_quoted(cell, mark, len(columns) == 1) for cell in line) + "\n" for line in lines)


def _quoted(cell: str, mark: str, alone: bool) -> str:
    if (cell or not alone) and not any(letter in cell for letter in (mark, '"', "\r", "\n")):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def _to_markdown(rows: Rows) -> str:
    columns = columns_of(rows)
    lines = [columns, ["---"] * len(columns), *([cell_text(row.get(name)) for name in columns] for row in rows)]
    escaped = ([cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped) if columns else ""


def cell_text(value: Any) -> str:
    """A value as it stands in a cell: null is empty, objects and lists are JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def key_of(value: Any) -> Any:
    """What two values share when they are the same; true is not 1 here. Lists and objects as their JSON."""
    if isinstance(value, bool):
        return ("truth", value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    return ("json", json.dumps(value, sort_keys=True))


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def names(value: Any, field: str) -> list[str]:
    """One name or a list of names. Raises InvalidRequest."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InvalidRequest(f"{field}: a name or a list of names")
    return found


def known(columns: Iterable[str], rows: Rows, field: str) -> list[str]:
    """The columns, all of which some row has. Raises InvalidRequest."""
    wanted = list(columns)
    if rows and (missing := [name for name in wanted if name not in set(columns_of(rows))]):
        raise InvalidRequest(f"{field}: there is no column {missing[0]!r}")
    return wanted
