"""Charts of data, and pages of charts."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.tool import SideEffect, Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome, Produced
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.material import Material, kept_as
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    TEXT,
    Schema,
    choice,
    described,
    fields,
    offered,
    results,
)

TYPES = ("auto", "line", "bar", "scatter", "histogram", "pie", "heatmap")
ACTIONS = ("create_charts", "create_dashboard", "export_figures")
FORMATS = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}
TIMEOUT = 180.0
_NAMES: Schema = {"type": "array", "items": {"type": "string"}, "maxItems": 20}
Given = Mapping[str, Any]
_CHART = results({"type": TEXT, "title": TEXT, "x": TEXT, "y": _NAMES, "note": TEXT, "rows": COUNT, "file": TEXT})
_MADE: dict[str, Schema] = {
    "action": TEXT,
    "charts": {"type": "array", "items": _CHART},
    "files": {"type": "array", "items": TEXT},
    "count": COUNT,
    "output_dir": {"type": ["string", "null"]},
    "url": {"type": ["string", "null"]},
    "dashboard_path": {"type": ["string", "null"]},
}


def visualization_offer() -> Tool:
    kind = {"type": "string", "enum": list(TYPES)}
    takes = {
        "action": choice(ACTIONS, "Pictures, one page with all of them, or pictures in several formats."),
        "data": {
            "type": ["array", "object", "string"],
            "description": "Objects, numbers, columns by name, or a text in JSON or CSV.",
        },
        "chart_types": {
            "oneOf": [kind, {"type": "array", "items": kind, "minItems": 1, "maxItems": len(TYPES)}],
            "default": ["auto"],
            "description": "auto chooses by the columns.",
        },
        "x": described(TEXT, "Column of the axis; else the first of times or texts."),
        "y": described(_NAMES, "Columns of numbers; else all."),
        "title": described(TEXT, "Of the page, or of each picture.", maxLength=500),
        "output_dir": described(TEXT, "Files are also written to this folder below the tools' folder.", minLength=1),
        "layout": choice(("grid", "vertical"), "create_dashboard.", default="grid"),
        "theme": choice(("light", "dark"), "Colours.", default="light"),
        "formats": {
            "type": "array",
            "items": {"type": "string", "enum": list(FORMATS)},
            "minItems": 1,
            "maxItems": len(FORMATS),
            "uniqueItems": True,
            "default": ["png"],
            "description": "export_figures.",
        },
        "keep": described(FLAG, "Files are kept as artifacts.", default=True),
    }
    return offered(
        "visualization",
        "data",
        "Draws charts of data: line, bar, scatter, histogram, pie, heatmap (correlations), or what fits (auto). "
        "create_dashboard makes one HTML page that holds all pictures and needs nothing else.",
        SideEffect.WRITE,
        fields(takes, ("action", "data")),
        results(_MADE, ("action", "charts", "files", "count")),
        TIMEOUT,
    )


class Visualization:
    """`BuiltinTool`. `function` answers as `adapters.matplotlib.drawing.draw`."""

    def __init__(self, material: Material, apart: Apart, function: str) -> None:
        self.tool = visualization_offer()
        self._material = material
        self._apart = apart
        self._function = function

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        action, folder = given["action"], given.get("output_dir")
        if folder is None and not given.get("keep", True):
            raise InvalidRequest("keep: without an output_dir the files would be lost")
        charts = await self._drawn(given)
        page = action == "create_dashboard"
        made = [_page(given, charts)] if page else _pictures(charts)
        if folder is not None:
            for one in made:
                await self._material.files.write(f"{folder}/{one.file_name}", one.content)
        names = [one.file_name if folder is None else f"{folder}/{one.file_name}" for one in made]
        kept = [kept_as(order, number) for number in range(1, len(made) + 1)] if given.get("keep", True) else []
        told = {"action": action, "count": len(charts), "output_dir": folder, "files": names}
        told |= _page_told(names, kept) if page else {"url": None}
        shown = [_shown(chart, None if page else at, names, kept) for at, chart in enumerate(charts)]
        return CallOutcome(told | {"charts": shown}, tuple(made) if kept else ())

    async def _drawn(self, given: Given) -> list[dict[str, Any]]:
        kinds = given.get("chart_types", ["auto"])
        formats = given.get("formats", ["png"]) if given["action"] == "export_figures" else ["png"]
        told = await self._apart.call(
            self._function,
            data=given["data"],
            chart_types=[kinds] if isinstance(kinds, str) else list(kinds),
            x=given.get("x"),
            y=list(given.get("y", [])),
            title="" if given["action"] == "create_dashboard" else given.get("title", ""),
            theme=given.get("theme", "light"),
            formats=formats,
        )
        return list(told["charts"])


def _pictures(charts: list[dict[str, Any]]) -> list[Produced]:
    return [
        Produced(
            f"{number}-{chart['type']}.{file['format']}", FORMATS[file["format"]], base64.b64decode(file["content"])
        )
        for number, chart in enumerate(charts, 1)
        for file in chart["files"]
    ]


def _page_told(names: list[str], kept: list[dict[str, str]]) -> dict[str, Any]:
    return {"dashboard_path": names[0], "url": kept[0]["url"] if kept else None} | (kept[0] if kept else {})


def _shown(chart: dict[str, Any], at: int | None, names: list[str], kept: list[dict[str, str]]) -> dict[str, Any]:
    """What is told of a chart; `at` is its number among those that have files of their own."""
    told = {name: value for name, value in chart.items() if name != "files"}
    if at is None:
        return told
    first = at * len(chart["files"])
    return told | {"file": names[first]} | (kept[first] if kept else {})


def _page(given: Given, charts: list[dict[str, Any]]) -> Produced:
    """One file that fetches nothing and runs nothing."""
    ground, ink = ("#111", "#eee") if given.get("theme", "light") == "dark" else ("#fff", "#111")
    title = html.escape(given.get("title") or "Dashboard")
    columns = "repeat(auto-fit, minmax(420px, 1fr))" if given.get("layout", "grid") == "grid" else "1fr"
    figures = "\n".join(_figure(chart) for chart in charts)
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ margin: 2rem; font-family: sans-serif; background: {ground}; color: {ink}; }}
main {{ display: grid; gap: 1.5rem; grid-template-columns: {columns}; }}
figure {{ margin: 0; }}
img {{ width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<main>
{figures}
</main>
</body>
</html>
"""
    return Produced("dashboard.html", "text/html", text.encode())


def _figure(chart: dict[str, Any]) -> str:
    picture = chart["files"][0]["content"]
    note = f" ({chart['note']})" if chart["note"] else ""
    words = html.escape(chart["title"] + note)
    return f'<figure><img alt="{words}" src="data:image/png;base64,{picture}"><figcaption>{words}</figcaption></figure>'
