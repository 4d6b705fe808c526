"""Tables without doubles, gaps and outliers; and what a table is like before that."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.services.builtin_tools.data.changing import deduplicated
from orchestrator.services.builtin_tools.data.table import Rows, columns_of, is_number, key_of

Column = list[Any]
FENCE = 1.5  # interquartile ranges beyond the quartiles: Tukey's fence
ASPECTS = ("missing_values", "data_types", "statistical_summary", "outlier_detection", "duplicate_detection")


def cleaned(
    rows: Rows, doubles: bool, missing: str | None, outliers: bool, columns: list[str]
) -> tuple[Rows, dict[str, int]]:
    """The clean table, and how many doubles, gaps and outliers went. Doubles go first, then gaps, then rows with an
    outlier. With `columns` only they are looked at for gaps and outliers."""
    looked_at = columns or columns_of(rows)
    went = {"duplicates_removed": 0, "missing_handled": 0, "outliers_removed": 0}
    if doubles:
        unique = deduplicated(rows, [])
        went["duplicates_removed"], rows = len(rows) - len(unique), unique
    if missing is not None:
        rows, went["missing_handled"] = _filled(rows, missing, looked_at)
    if outliers:
        fences = {name: fence for name in looked_at if (fence := fence_of([row.get(name) for row in rows])) is not None}
        kept = [row for row in rows if all(_inside(row.get(name), fence) for name, fence in fences.items())]
        went["outliers_removed"], rows = len(rows) - len(kept), kept
    return rows, went


def _filled(rows: Rows, how: str, columns: list[str]) -> tuple[Rows, int]:
    gaps = sum(row.get(name) is None for row in rows for name in columns)
    if how == "drop":
        return [row for row in rows if all(row.get(name) is not None for name in columns)], gaps
    if how not in FILLS:
        raise InvalidRequest(f"handle_missing: one of drop, {', '.join(FILLS)}")
    filled = {name: FILLS[how]([row.get(name) for row in rows]) for name in columns}
    done = [{**row, **{name: filled[name][place] for name in columns}} for place, row in enumerate(rows)]
    return done, gaps - sum(row[name] is None for row in done for name in columns)


def _forward(values: Column) -> Column:
    last, found = None, []
    for value in values:
        last = value if value is not None else last
        found.append(last)
    return found


def _backward(values: Column) -> Column:
    return _forward(values[::-1])[::-1]


def _interpolated(values: Column) -> Column:
    """On the line between the numbers before and after a gap; gaps at the ends, and columns of anything else, stay."""
    known = [place for place, value in enumerate(values) if value is not None]
    if not all(is_number(values[place]) for place in known):
        return values
    found = list(values)
    for start, end in pairwise(known):
        step = (values[end] - values[start]) / (end - start)
        for place in range(start + 1, end):
            found[place] = values[start] + step * (place - start)
    return found


def _by(function: Callable[[Column], Any]) -> Callable[[Column], Column]:
    """For columns of numbers; others keep their gaps."""

    def fill(values: Column) -> Column:
        known = [value for value in values if value is not None]
        if not known or not all(map(is_number, known)):
            return values
        middle = function(known)
        return [middle if value is None else value for value in values]

    return fill


FILLS: dict[str, Callable[[Column], Column]] = {
    "forward_fill": _forward,
    "backward_fill": _backward,
    "interpolate": _interpolated,
    "mean": _by(statistics.fmean),
    "median": _by(statistics.median),
}


def fence_of(values: Column) -> tuple[float, float] | None:
    """Between which numbers there are no outliers; None with fewer than four numbers or where something else is."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < 4 or not all(map(is_number, numbers)):
        return None
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low - FENCE * (high - low), high + FENCE * (high - low)


def _inside(value: Any, fence: tuple[float, float]) -> bool:
    return value is None or fence[0] <= value <= fence[1]


def profiled(rows: Rows, aspects: list[str]) -> dict[str, Any]:
    """What a table is like. Raises InvalidRequest for an aspect that is none."""
    for name in aspects:
        if name not in ASPECTS:
            raise InvalidRequest(f"profiling_options: {name[:50]!r} is not one of {', '.join(ASPECTS)}")
    wanted, columns = aspects or list(ASPECTS), columns_of(rows)
    found: dict[str, Any] = {
        "row_count": len(rows),
        "column_count": len(columns),
        "columns": {name: _described([row.get(name) for row in rows], wanted) for name in columns},
    }
    if "duplicate_detection" in wanted:
        found["duplicate_rows"] = len(rows) - len(deduplicated(rows, []))
    return found


def _described(values: Column, wanted: list[str]) -> dict[str, Any]:
    there = [value for value in values if value is not None]
    found: dict[str, Any] = {"count": len(there)}
    if "missing_values" in wanted:
        missing = len(values) - len(there)
        found |= {"missing": missing, "missing_percent": round(100 * missing / len(values), 4) if values else 0.0}
    if "data_types" in wanted:
        kinds = Counter(kind_of(value) for value in there)
        found |= {"type": next(iter(kinds)) if len(kinds) == 1 else "mixed" if kinds else "null", "types": dict(kinds)}
    if "statistical_summary" in wanted:
        found |= _summary(there)
    if "outlier_detection" in wanted and (fence := fence_of(values)) is not None:
        found["outliers"] = sum(not _inside(value, fence) for value in there)
    return found


def _summary(there: Column) -> dict[str, Any]:
    counted = Counter(map(key_of, there))
    found: dict[str, Any] = {"unique": len(counted)}
    if there and all(map(is_number, there)):
        low, middle, high = statistics.quantiles(there, n=4, method="inclusive") if len(there) > 1 else there * 3
        deviation = statistics.stdev(there) if len(there) > 1 else None
        return found | {
            "min": min(there), "max": max(there), "mean": math.fsum(there) / len(there), "median": middle,
            "q1": low, "q3": high, "std": deviation,
        }  # fmt: skip
    texts = Counter(one for one in there if isinstance(one, str))
    return found | {"most_common": [{"value": value, "count": count} for value, count in texts.most_common(5)]}


def kind_of(value: Any) -> str:
    """The JSON type of a value; whole numbers are `integer`."""
    for types, name in (
        (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"),
    ):  # fmt: skip
        if isinstance(value, types):
            return name
    return "null"
