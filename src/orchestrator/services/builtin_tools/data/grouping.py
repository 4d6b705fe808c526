"""Groups of rows and what is computed of them; tables turned so that values become columns."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.services.builtin_tools.data.table import Row, Rows, cell_text, is_number, key_of, known

Values = list[Any]
EVERY_ROW = "*"


def _numbers(function: Callable[[list[float]], Any], least: int = 1) -> Callable[[Values], Any]:
    def compute(values: Values) -> Any:
        for value in values:
            if not is_number(value):
                raise TypeError(f"{str(value)[:50]!r} is not a number")
        return function(values) if len(values) >= least else None

    return compute


def _total(values: list[float]) -> Any:
    return sum(values) if all(isinstance(one, int) for one in values) else math.fsum(values)


def _mean(values: list[float]) -> float:
    return float(_total(values)) / len(values)


# Nulls are left out before; without values the result is null, but for counts and sums.
AGGREGATES: dict[str, Callable[[Values], Any]] = {
    "sum": _numbers(_total, 0),
    "avg": _numbers(_mean),
    "mean": _numbers(_mean),
    "median": _numbers(statistics.median),
    "std": _numbers(statistics.stdev, 2),
    "var": _numbers(statistics.variance, 2),
    "count": len,
    "count_distinct": lambda values: len({key_of(one) for one in values}),
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "list": list,
}


def computed(rows: Rows, function: str, column: str) -> Any:
    """Raises InvalidRequest."""
    if function not in AGGREGATES:
        raise InvalidRequest(f"aggregations: unknown function {function[:50]!r}; one of {', '.join(AGGREGATES)}")
    if column == EVERY_ROW:
        if function != "count":
            raise InvalidRequest("aggregations: only count takes every row (*)")
        return len(rows)
    try:
        return AGGREGATES[function]([value for row in rows if (value := row.get(column)) is not None])
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InvalidRequest(f"aggregations: {function} of {column!r}: {error}") from None


def aggregated(rows: Rows, group_by: list[str], aggregations: Any) -> Rows:
    """One row for each group, in the order in which the groups come up; without `group_by` one row for all."""
    plan = _plan(aggregations)
    known(group_by, rows, "group_by")
    known([column for _, column in plan.values() if column != EVERY_ROW], rows, "aggregations")
    return [
        {
            **{name: group[0].get(name) for name in group_by},
            **{name: computed(group, function, column) for name, (function, column) in plan.items()},
        }
        for group in groups(rows, group_by)
    ]


def groups(rows: Rows, by: list[str]) -> list[Rows]:
    if not by:
        return [rows]
    found: dict[Any, Rows] = {}
    for row in rows:
        found.setdefault(tuple(key_of(row.get(name)) for name in by), []).append(row)
    return list(found.values())


def _plan(aggregations: Any) -> dict[str, tuple[str, str]]:
    """By name of the result: the function and the column."""
    if not isinstance(aggregations, Mapping) or not aggregations:
        raise InvalidRequest("aggregations: an object {column: function} or {name: {function, column}}")
    plan: dict[str, tuple[str, str]] = {}
    for name, wanted in aggregations.items():
        if isinstance(wanted, str):
            plan[name] = (wanted.lower(), name)
        elif isinstance(wanted, list) and all(isinstance(one, str) for one in wanted):
            plan.update({f"{name}_{one.lower()}": (one.lower(), name) for one in wanted})
        elif isinstance(wanted, Mapping) and isinstance(wanted.get("function"), str):
            plan[name] = (wanted["function"].lower(), str(wanted.get("column", name)))
        else:
            raise InvalidRequest(f"aggregations.{name}: a function, or {{function, column}}")
    return plan


def pivoted(rows: Rows, index: list[str], columns: list[str], values: list[str], function: str, fill: Any) -> Rows:
    """One row for each combination of `index`, one column for each of `columns`, in the order of their texts. With
    several `values` a column is `value_column`."""
    if not (columns and values):
        raise InvalidRequest("pivot: needs columns and values")
    known([*index, *columns, *values], rows, "pivot")
    heads = sorted({_head(row, columns) for row in rows})
    if len(heads) * len(values) > MAX_COLUMNS:
        raise InvalidRequest(f"columns: they have more than {MAX_COLUMNS:,} different values")
    grouped = groups(rows, index)
    if len(grouped) * len(heads) * len(values) > MAX_CELLS:
        raise InvalidRequest(f"pivot: the result has more than {MAX_CELLS:,} cells")
    found = []
    for group in grouped:
        by_head: dict[str, Rows] = {}
        for row in group:
            by_head.setdefault(_head(row, columns), []).append(row)
        result: Row = {name: group[0].get(name) for name in index}
        for value in values:
            for head in heads:
                name = f"{value}_{head}" if len(values) > 1 else head
                result[name] = computed(by_head[head], function, value) if head in by_head else fill
        found.append(result)
    return found


MAX_COLUMNS, MAX_CELLS = 1_000, 5_000_000


def _head(row: Row, columns: list[str]) -> str:
    return "_".join("null" if row.get(name) is None else cell_text(row[name]) for name in columns)
