"""The tool `visualization`."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import pytest
from builtin_calls import Caller
from PIL import Image

from orchestrator.adapters.matplotlib.drawing import draw
from orchestrator.adapters.matplotlib.plan import Plan, planned
from orchestrator.adapters.matplotlib.table import Kind, Problem, table_of
from orchestrator.domain.errors import InvalidRequest
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.material import Material
from orchestrator.services.builtin_tools.visualization import Visualization

SALES = [
    {"month": "2026-01-01", "shop": "a", "sold": 3, "price": 2.5},
    {"month": "2026-02-01", "shop": "b", "sold": 5, "price": 2.0},
    {"month": "2026-03-01", "shop": "a", "sold": None, "price": 1.5},
]


@pytest.fixture
def visualization(material: Material, apart: Apart) -> Caller:
    return Caller(Visualization(material, apart, "orchestrator.adapters.matplotlib.drawing:draw"))


def plan(data: Any, *kinds: str, x: str | None = None, y: tuple[str, ...] = ()) -> list[Plan]:
    return planned(table_of(data), kinds, x, y)


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (SALES, {"month": Kind.TIME, "shop": Kind.TEXT, "sold": Kind.NUMBER, "price": Kind.NUMBER}),
        ({"a": [1, 2], "b": ["x"]}, {"a": Kind.NUMBER, "b": Kind.TEXT}),
        ({"x": 1, "y": 2}, {"name": Kind.TEXT, "value": Kind.NUMBER}),
        ([1, 2.5], {"value": Kind.NUMBER}),
        ([[1, "a"], [2]], {"column 1": Kind.NUMBER, "column 2": Kind.TEXT}),
        ("a,b\n1,x\n,y\n", {"a": Kind.NUMBER, "b": Kind.TEXT}),
        ('{"rows": [{"a": true}]}', {"a": Kind.TEXT}),
        ({"results": [{"a": "1"}], "total": 1}, {"a": Kind.NUMBER}),
    ],
)
def test_data_of_any_usual_shape(data: Any, kinds: dict[str, Kind]) -> None:
    assert {one.name: one.kind for one in table_of(data)} == kinds


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (SALES, ["line"]),
        ({"x": 1, "y": 2}, ["bar"]),
        ([3, 1, 2], ["histogram"]),
        ({"a": [3, 1, 2], "b": [1, 2, 3]}, ["scatter"]),
        ({"a": [1, 2, 3], "b": [3, 1, 2]}, ["line"]),
        ({"a": [3, 1, 2], "b": [1, 2, 3], "c": [1, 3, 2]}, ["scatter", "heatmap"]),
        (["x", "y", "x"], ["bar"]),
    ],
)
def test_auto_chooses_by_the_columns(data: Any, kinds: list[str]) -> None:
    assert [one.kind for one in plan(data, "auto")] == kinds


def test_numbers_are_those_of_the_data() -> None:
    (bar,) = plan(SALES, "bar", x="shop", y=("sold",))
    assert (bar.labels, bar.series, bar.note) == (["a", "b"], {"sold": [3, 5]}, "the sum of rows with the same label")
    (counted,) = plan(["x", "y", "x"], "bar")
    assert (counted.labels, counted.series) == (["x", "y"], {"count": [2, 1]})
    (line,) = plan(list(reversed(SALES)), "line", x="month", y=("price",))
    assert line.series == {"price": [2.5, 2.0, 1.5]}
    (heat,) = plan({"a": [1, 2, 3], "b": [2, 4, 6], "c": [3, 2, 1], "d": [1, 1, 1]}, "heatmap")
    assert [round(value, 6) for value in heat.series["a"][:3]] == [1, 1, -1]
    assert heat.series["a"][3] is None
    (pie,) = plan({f"n{number}": number for number in range(1, 16)}, "pie")
    assert (pie.labels[0], pie.labels[-1]) == ("n15", "3 others")
    assert sum(pie.series["value"]) == sum(range(16))
    (many,) = plan([{"n": str(number) + "x"} for number in range(50)], "bar")
    assert "10 more labels left out" in many.note


@pytest.mark.parametrize(
    ("data", "kind", "options", "words"),
    [
        ([], "bar", {}, "nothing to show"),
        ("", "bar", {}, "has to be JSON, or CSV"),
        ({"a": 1, "b": "x"}, "bar", {}, "lists of equal meaning"),
        (["a"], "line", {}, "no column of numbers"),
        (["a"], "heatmap", {}, "two columns"),
        ([1], "scatter", {}, "two columns"),
        ({"a": -1, "b": 2}, "pie", {}, "positive"),
        (SALES, "line", {"x": "nowhere"}, "no column 'nowhere'"),
        (SALES, "line", {"y": ("shop",)}, "holds no numbers"),
        ({str(number): [1] for number in range(101)}, "bar", {}, "100 columns"),
        ([1] * 100_001, "histogram", {}, "100,000 rows"),
    ],
)
def test_what_cannot_be_drawn_is_said(data: Any, kind: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem, match=words):
        plan(data, kind, **options)


@pytest.mark.parametrize("kind", ["line", "bar", "scatter", "histogram", "pie", "heatmap"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_chart_is_a_picture(kind: str, theme: str) -> None:
    told = draw(
        [*SALES, {"month": "2026-04-01", "shop": "$x^2$ " * 30, "sold": 1, "price": 9}],
        [kind],
        None,
        [],
        "",
        theme,
        ["png"],
    )
    (chart,) = told["charts"]
    with Image.open(io.BytesIO(base64.b64decode(chart["files"][0]["content"]))) as picture:
        assert picture.size == (990, 605)
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 3
    assert chart["rows"] == 4


async def test_charts_are_written_and_kept(visualization: Caller, root: Path) -> None:
    outcome = await visualization.outcome(
        action="create_charts", data=SALES, chart_types=["auto", "pie"], y=["price"], output_dir="out", title="Prices"
    )
    told = outcome.result
    assert told["files"] == ["out/1-line.png", "out/2-pie.png"]
    assert sorted(os.listdir(root / "out")) == ["1-line.png", "2-pie.png"]
    assert (told["count"], told["output_dir"]) == (2, "out")
    assert [(chart["type"], chart["title"], chart["file"]) for chart in told["charts"]] == [
        ("line", "Prices", "out/1-line.png"),
        ("pie", "Prices", "out/2-pie.png"),
    ]
    assert [one.content for one in outcome.files] == [(root / name).read_bytes() for name in told["files"]]
    assert told["charts"][0]["artifact_id"] != told["charts"][1]["artifact_id"]


async def test_a_dashboard_is_one_page_without_scripts(visualization: Caller) -> None:
    data = {"<img src=x onerror=alert(1)>": [3, 1, 2]}
    outcome = await visualization.outcome(
        action="create_dashboard", data=data, title="<script>alert(1)</script>", theme="dark", layout="vertical"
    )
    (page,) = outcome.files
    text = page.content.decode()
    assert text.count("<img ") == 1
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert "&lt;script&gt;" in text
    assert (outcome.result["dashboard_path"], page.mime_type) == ("dashboard.html", "text/html")
    assert outcome.result["url"].endswith("/content")


async def test_figures_are_exported_in_other_formats(visualization: Caller) -> None:
    outcome = await visualization.outcome(
        action="export_figures", data=[3, 1, 2], chart_types="histogram", formats=["svg", "pdf"]
    )
    assert [one.file_name for one in outcome.files] == ["1-histogram.svg", "1-histogram.pdf"]
    assert b"<svg" in outcome.files[0].content
    assert outcome.files[1].content.startswith(b"%PDF-")
    with pytest.raises(InvalidRequest, match="lost"):
        await visualization(action="create_charts", data=[1], keep=False)
