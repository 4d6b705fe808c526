"""Charts as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.adapters.matplotlib.plan import Plan, planned
from orchestrator.adapters.matplotlib.table import Problem, table_of

STYLES = {"light": "default", "dark": "dark_background"}
MOST_LETTERS = 60
_WIDTH, _HEIGHT, _DPI = 9.0, 5.5, 110  # inches, dots per inch


def draw(
    data: Any, chart_types: list[str], x: str | None, y: list[str], title: str, theme: str, formats: list[str]
) -> dict[str, Any]:
    """`charts`: for each its type, title, axis, series, note, rows, and `files` with format and content (base64)."""
    try:
        columns = table_of(data)
        plans = planned(columns, chart_types, x, y)
    except Problem as problem:
        return {"problem": str(problem)}
    rows = len(columns[0].values)
    with matplotlib.style.context([STYLES[theme], {"text.parse_math": False, "svg.hashsalt": "orchestrator"}]):
        return {"charts": [_chart(plan, title, formats) | {"rows": rows} for plan in plans]}


def _chart(plan: Plan, title: str, formats: list[str]) -> dict[str, Any]:
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    _WAYS[plan.kind](figure, axes, plan)
    shown = title or _title(plan)
    axes.set_title(short(shown))
    return {
        "type": plan.kind,
        "title": shown,
        "x": plan.x,
        "y": list(plan.series),
        "note": plan.note,
        "files": [{"format": kind, "content": _saved(figure, kind)} for kind in formats],
    }


def _saved(figure: Figure, kind: str) -> str:
    sink = io.BytesIO()
    figure.savefig(sink, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return base64.b64encode(sink.getvalue()).decode()


def short(text: str) -> str:
    plain = "".join(char if char.isprintable() else " " for char in text)
    return plain if len(plain) <= MOST_LETTERS else plain[: MOST_LETTERS - 3] + "..."


def _title(plan: Plan) -> str:
    names = ", ".join(plan.series)
    match plan.kind:
        case "heatmap":
            return "Correlation"
        case "histogram":
            return f"Distribution of {names}"
    return f"{names} by {plan.x}"


def _line(_figure: Figure, axes: Axes, plan: Plan) -> None:
    for name, values in plan.series.items():
        shown = [float("nan") if value is None else value for value in values]
        axes.plot(plan.labels, shown, marker="o" if len(values) <= 50 else "", label=short(name))
    _named(axes, plan)
    axes.tick_params(axis="x", rotation=30 if plan.labels and isinstance(plan.labels[0], str) else 0)


def _scatter(_figure: Figure, axes: Axes, plan: Plan) -> None:
    for name, values in plan.series.items():
        pairs = [(x, y) for x, y in zip(plan.labels, values, strict=True) if x is not None and y is not None]
        axes.scatter([x for x, _ in pairs], [y for _, y in pairs], s=18, alpha=0.7, label=short(name))
    _named(axes, plan)


def _named(axes: Axes, plan: Plan) -> None:
    axes.set_xlabel(short(plan.x))
    if len(plan.series) == 1:
        axes.set_ylabel(short(next(iter(plan.series))))
    else:
        axes.legend()
    axes.grid(visible=True, alpha=0.3)


def _bar(_figure: Figure, axes: Axes, plan: Plan) -> None:
    width = 0.8 / len(plan.series)
    places = range(len(plan.labels))
    for number, (name, values) in enumerate(plan.series.items()):
        shift = (number - (len(plan.series) - 1) / 2) * width
        axes.bar([place + shift for place in places], values, width, label=short(name))
    turned = len(plan.labels) > 6 or any(len(str(label)) > 10 for label in plan.labels)
    names = [short(str(label)) for label in plan.labels]
    axes.set_xticks(list(places), names, rotation=40 if turned else 0, ha="right" if turned else "center")
    _named(axes, plan)


def _histogram(_figure: Figure, axes: Axes, plan: Plan) -> None:
    for name, values in plan.series.items():
        axes.hist(values, bins=min(50, max(5, round(len(values) ** 0.5))), alpha=0.7, label=short(name))
    if len(plan.series) == 1:
        axes.set_xlabel(short(next(iter(plan.series))))
    else:
        axes.legend()
    axes.set_ylabel("rows")


def _pie(_figure: Figure, axes: Axes, plan: Plan) -> None:
    values = next(iter(plan.series.values()))
    axes.pie(values, labels=[short(str(label)) for label in plan.labels], autopct="%1.0f%%", startangle=90)


def _heatmap(figure: Figure, axes: Axes, plan: Plan) -> None:
    names = [short(str(label)) for label in plan.labels]
    grid = [[float("nan") if value is None else value for value in row] for row in plan.series.values()]
    picture = axes.imshow(grid, vmin=-1, vmax=1, cmap="coolwarm")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    figure.colorbar(picture, ax=axes)
    if len(names) <= 10:
        for row, values in enumerate(plan.series.values()):
            for column, value in enumerate(values):
                axes.text(column, row, "" if value is None else f"{value:.2f}", ha="center", va="center", color="black")


_WAYS: dict[str, Callable[[Figure, Axes, Plan], None]] = {
    "line": _line,
    "bar": _bar,
    "scatter": _scatter,
    "histogram": _histogram,
    "pie": _pie,
    "heatmap": _heatmap,
}
