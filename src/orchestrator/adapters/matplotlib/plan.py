"""Which chart shows which columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from orchestrator.adapters.matplotlib.table import Column, Kind, Problem

TYPES = ("line", "bar", "scatter", "histogram", "pie", "heatmap")
MOST_LINES = 8
MOST_BARS = 40
MOST_SLICES = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """`series` has the values by name; `labels` what they stand for. `note` says what was done to the data."""

    kind: str
    x: str
    labels: list[Any]
    series: dict[str, list[Any]]
    note: str = ""


def planned(columns: Sequence[Column], kinds: Iterable[str], x: str | None, y: Sequence[str]) -> list[Plan]:
    """Raises Problem where a chart that was asked for cannot be drawn of these columns."""
    wanted = list(dict.fromkeys(kinds))
    if "auto" in wanted:
        at = wanted.index("auto")
        wanted[at : at + 1] = [kind for kind in _fitting(columns, x, y) if kind not in wanted]
    return [_WAYS[kind](columns, x, y) for kind in wanted]


def _fitting(columns: Sequence[Column], x: str | None, y: Sequence[str]) -> list[str]:
    numbers, axis = _numbers(columns, x, y), _axis(columns, x)
    if not numbers:
        return ["bar"]
    if axis is not None and axis.kind is Kind.TIME:
        return ["line"]
    if axis is not None and axis.kind is Kind.TEXT:
        return ["bar"]
    others = [one for one in numbers if axis is None or one.name != axis.name]
    if axis is not None and others:
        return ["line"] if _rising(axis.values) else ["scatter"]
    return ["scatter", "heatmap"] if len(numbers) > 2 else ["scatter"] if len(numbers) == 2 else ["histogram"]


def _rising(values: Sequence[Any]) -> bool:
    present = [value for value in values if value is not None]
    return len(present) > 1 and all(one < two for one, two in pairwise(present))


def _named(columns: Sequence[Column], name: str) -> Column:
    found = next((one for one in columns if one.name == name), None)
    if found is None:
        raise Problem(f"data: there is no column {name[:100]!r}")
    return found


def _numbers(columns: Sequence[Column], x: str | None, y: Sequence[str]) -> list[Column]:
    """The columns of numbers that are asked for, or all but the axis."""
    if y:
        found = [_named(columns, name) for name in y]
        wrong = next((one.name for one in found if one.kind is not Kind.NUMBER), None)
        if wrong is not None:
            raise Problem(f"the column {wrong[:100]!r} holds no numbers")
        return found
    return [one for one in columns if one.kind is Kind.NUMBER and one.name != x]


def _axis(columns: Sequence[Column], x: str | None) -> Column | None:
    """What is asked for, else the first column of times or texts, else a first column of rising numbers."""
    if x is not None:
        return _named(columns, x)
    for kind in (Kind.TIME, Kind.TEXT):
        found = next((one for one in columns if one.kind is kind), None)
        if found is not None:
            return found
    first = columns[0]
    return first if len(columns) > 1 and _rising(first.values) else None


def _series(
    kind: str, columns: Sequence[Column], x: str | None, y: Sequence[str]
) -> tuple[Column | None, list[Column]]:
    axis = _axis(columns, x)
    numbers = [one for one in _numbers(columns, x, y) if axis is None or one.name != axis.name or y]
    if not numbers:
        raise Problem(f"{kind}: there is no column of numbers")
    return axis, numbers


def _line(columns: Sequence[Column], x: str | None, y: Sequence[str]) -> Plan:
    axis, numbers = _series("line", columns, x, y)
    shown = numbers[:MOST_LINES]
    labels = axis.values if axis else list(range(1, len(numbers[0].values) + 1))
    rows = [at for at, label in enumerate(labels) if label is not None]
    if axis is not None and axis.kind is not Kind.TEXT:
        rows.sort(key=lambda at: labels[at])
    note = _left_out(len(numbers) - len(shown), "column")
    picked = {one.name: [one.values[at] for at in rows] for one in shown}
    return Plan("line", axis.name if axis else "row", [labels[at] for at in rows], picked, note)


def _scatter(columns: Sequence[Column], x: str | None, y: Sequence[str]) -> Plan:
    numbers = _numbers(columns, x, y)
    axis = _named(columns, x) if x is not None else None
    if axis is None:
        if len(numbers) < 2:
            raise Problem("scatter: two columns of numbers are needed")
        axis, numbers = numbers[0], numbers[1:]
    if axis.kind is Kind.TEXT or not numbers:
        raise Problem("scatter: two columns of numbers are needed")
    shown = numbers[:MOST_LINES]
    note = _left_out(len(numbers) - len(shown), "column")
    return Plan("scatter", axis.name, axis.values, {one.name: one.values for one in shown}, note)


def _totals(
    kind: str, columns: Sequence[Column], x: str | None, y: Sequence[str]
) -> tuple[str, dict[str, dict[str, float]], str]:
    """Sums by label; how often each label occurs where there are no numbers."""
    axis, numbers = _axis(columns, x), _numbers(columns, x, y)
    numbers = [one for one in numbers if axis is None or one.name != axis.name]
    if axis is None:
        if not numbers:
            raise Problem(f"{kind}: there is nothing to count")
        sums = {"total": {one.name: sum(value for value in one.values if value is not None) for one in numbers}}
        return "column", sums, "the sum of each column"
    labels = ["" if value is None else str(value) for value in axis.values]
    if not numbers:
        counts: dict[str, float] = {}
        for label in labels:
            counts[label] = counts.get(label, 0) + 1
        return axis.name, {"count": counts}, "how often each value occurs"
    sums = {}
    for one in numbers[:MOST_LINES]:
        sums[one.name] = {}
        for label, value in zip(labels, one.values, strict=True):
            sums[one.name][label] = sums[one.name].get(label, 0.0) + (value or 0.0)
    note = "the sum of rows with the same label" if len(set(labels)) < len(labels) else ""
    return axis.name, sums, note


def _bar(columns: Sequence[Column], x: str | None, y: Sequence[str]) -> Plan:
    name, sums, note = _totals("bar", columns, x, y)
    labels = list(dict.fromkeys(label for values in sums.values() for label in values))
    shown = labels[:MOST_BARS]
    notes = [note, _left_out(len(labels) - len(shown), "label")]
    series = {which: [values.get(label, 0.0) for label in shown] for which, values in sums.items()}
    return Plan("bar", name, shown, series, "; ".join(filter(None, notes)))


def _pie(columns: Sequence[Column], x: str | None, y: Sequence[str]) -> Plan:
    name, sums, note = _totals("pie", columns, x, y)
    which, values = next(iter(sums.items()))
    if any(value < 0 for value in values.values()) or not any(values.values()):
        raise Problem("pie: the numbers have to be positive")
    ordered = sorted(((label, value) for label, value in values.items() if value), key=lambda pair: -pair[1])
    shown, rest = ordered[:MOST_SLICES], ordered[MOST_SLICES:]
    if rest:
        shown.append((f"{len(rest)} others", sum(value for _, value in rest)))
    return Plan("pie", name, [label for label, _ in shown], {which: [value for _, value in shown]}, note)


def _histogram(columns: Sequence[Column], x: str | None, y: Sequence[str]) -> Plan:
    numbers = _numbers(columns, None, y)
    if not numbers:
        raise Problem("histogram: there is no column of numbers")
    shown = numbers[:MOST_LINES]
    note = _left_out(len(numbers) - len(shown), "column")
    return Plan("histogram", "", [], {one.name: [v for v in one.values if v is not None] for one in shown}, note)


def _heatmap(columns: Sequence[Column], x: str | None, y: Sequence[str]) -> Plan:
    """How far columns go together: Pearson's coefficient, over the rows where both have a number."""
    numbers = _numbers(columns, None, y)[:30]
    if len(numbers) < 2:
        raise Problem("heatmap: two columns of numbers are needed")
    grid = {one.name: [_correlation(one.values, other.values) for other in numbers] for one in numbers}
    return Plan("heatmap", "", [one.name for one in numbers], grid, "correlation of columns (Pearson)")


def _correlation(ones: Sequence[float | None], others: Sequence[float | None]) -> float | None:
    pairs = [(one, other) for one, other in zip(ones, others, strict=True) if one is not None and other is not None]
    if len(pairs) < 2:
        return None
    mean_one = sum(one for one, _ in pairs) / len(pairs)
    mean_other = sum(other for _, other in pairs) / len(pairs)
    both = sum((one - mean_one) * (other - mean_other) for one, other in pairs)
    spread = math.sqrt(
        sum((one - mean_one) ** 2 for one, _ in pairs) * sum((other - mean_other) ** 2 for _, other in pairs)
    )
    return both / spread if spread else None


def _left_out(count: int, noun: str) -> str:
    return f"{count} more {noun}{'' if count == 1 else 's'} left out" if count else ""


_WAYS = {"line": _line, "bar": _bar, "scatter": _scatter, "histogram": _histogram, "pie": _pie, "heatmap": _heatmap}
