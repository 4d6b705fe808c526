"""The tool `data-processing`, through real processes; and its sums against plain ones."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from builtin_calls import Caller
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.files import FileTree
from orchestrator.domain.errors import InvalidRequest, NotFound
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.data import DataProcessing
from orchestrator.services.builtin_tools.data.work import process

ORDERS = """order,customer,month,product,quantity,price,status
007,ann,2026-01-03,rope,2,3.5,sent
008,bob,2026-01-09,rope,1,3.5,cancelled
009,ann,2026-02-01,lamp,,12,sent
009,ann,2026-02-01,lamp,,12,sent
010,cid,2026-02-11,lamp,4,12,
"""


@pytest.fixture
def files(root: Path) -> FileTree:
    return FileTree(root, 1 << 20)


@pytest.fixture
def tool(apart: Apart, files: FileTree) -> Caller:
    return Caller(DataProcessing(apart, files))


async def done(tool: Caller, **arguments: Any) -> dict[str, Any]:
    return (await tool(**arguments))["processed_data"]


def at_once(**arguments: Any) -> dict[str, Any]:
    """Without a process."""
    answer = process(arguments)
    if "problem" in answer:
        raise InvalidRequest(answer["problem"])
    return answer["processed_data"]


async def test_convert_between_formats(tool: Caller) -> None:
    found = await done(tool, action="convert", data=ORDERS)
    assert found["row_count"] == 5
    assert found["data"][0] == {
        "order": "007", "customer": "ann", "month": "2026-01-03", "product": "rope", "quantity": 2, "price": 3.5,
        "status": "sent",
    }  # fmt: skip
    assert found["data"][2]["quantity"] is None
    for form in ("csv", "tsv", "jsonl", "json"):
        text = (await done(tool, action="convert", data=ORDERS, output_format=form))["data"]
        text = json.dumps(text) if form == "json" else text
        assert (await done(tool, action="convert", data=text))["data"] == found["data"]
    table = (await done(tool, action="convert", data=[{"a": "x|y", "b": None}], output_format="markdown"))["data"]
    assert table == "| a | b |\n| --- | --- |\n| x\\|y |  |\n"


def test_cells_that_need_quotes() -> None:
    rows = [{"a": "x\r", "b": 'say "no"'}, {"a": "1,2", "b": "two\nlines"}, {"a": " x ", "b": "\t"}]
    for form in ("csv", "tsv"):
        text = at_once(action="convert", data=rows, output_format=form)["data"]
        assert at_once(action="convert", data=text, format=form)["data"] == rows
    assert at_once(action="convert", data=[{"a": None}, {"a": "x"}], output_format="csv")["data"] == 'a\n""\nx\n'


async def test_a_path_is_read_below_the_folder(tool: Caller, files: FileTree) -> None:
    await files.write("in/orders.csv", ORDERS.encode())
    assert (await done(tool, action="convert", data="in/orders.csv"))["row_count"] == 5
    with pytest.raises(NotFound):
        await tool(action="convert", data="in/other.csv")
    with pytest.raises(InvalidRequest):
        await tool(action="convert", data="../secret.csv")


@pytest.mark.parametrize(
    ("criteria", "orders"),
    [
        ("quantity != null and quantity >= 2", ["007", "010"]),
        ({"customer": "ann"}, ["007", "009", "009"]),
        ({"quantity": {"$gte": 2}, "product": "lamp"}, ["010"]),
        ({"field": "status", "operator": "!=", "value": "cancelled"}, ["007", "009", "009", "010"]),
        ([{"field": "price", "operator": "between", "value": [3, 4]}, {"customer": {"in": ["bob"]}}], ["008"]),
        ({"or": [{"customer": "cid"}, {"status": {"startswith": "canc"}}]}, ["008", "010"]),
        ({"not": {"quantity": {"is_null": True}}}, ["007", "008", "010"]),
    ],
)
def test_filter(criteria: Any, orders: list[str]) -> None:
    found = at_once(action="filter", data=ORDERS, criteria=criteria)
    assert [row["order"] for row in found["data"]] == orders
    assert (found["original_count"], found["filtered_count"]) == (5, len(orders))
    assert at_once(action="filter", data=ORDERS, operation={"criteria": criteria})["data"] == found["data"]


def test_transform_as_the_contract_has_it() -> None:
    operations = [
        {"type": "deduplicate", "columns": ["order"], "keep": "first"},
        {"type": "cast", "columns": {"quantity": "integer", "price": "float", "month": "datetime"}},
        {"type": "fill_missing", "strategy": {"status": "pending", "quantity": 1}},
        {"type": "calculate", "expressions": {"total": "quantity * price", "in": "DATE_FORMAT(month, '%Y-%m')"}},
        {"type": "filter", "condition": "status != 'cancelled'"},
        {"type": "rename_fields", "mapping": {"in": "period"}},
        {"type": "add_field", "field": "source", "value": "shop"},
    ]
    found = at_once(action="transform", input_data=ORDERS, input_format="csv", operations=operations)
    assert [(row["order"], row["total"], row["period"], row["source"]) for row in found["data"]] == [
        ("007", 7.0, "2026-01", "shop"),
        ("009", 12.0, "2026-02", "shop"),
        ("010", 48.0, "2026-02", "shop"),
    ]
    assert [one["rows_after"] for one in found["operations"]] == [4, 4, 4, 4, 3, 3, 3]


def test_transform_of_records_and_by_specification() -> None:
    records = {"records": [{"active": True, "value": 3}, {"active": False, "value": 4}, {"active": True, "value": 5}]}
    transformations = [
        {"type": "filter", "field": "active", "value": True},
        {"type": "aggregate", "operation": "sum", "field": "value"},
    ]
    found = at_once(action="transform", data=json.dumps(records), operation={"transformations": transformations})
    assert found["data"] == [{"value": 8}]
    spec = {"n": "len(parsed_data.records)", "first": "json.loads(data)['records'][0].value", "words": "str(len(data))"}
    found = at_once(action="transform", data=json.dumps(records), transform_spec=spec)
    assert found["data"] == {"n": 3, "first": 3, "words": str(len(json.dumps(records)))}


def test_sort_select_and_limit() -> None:
    operations = [
        {"type": "sort", "by": ["quantity"], "descending": True},
        {"type": "select_fields", "columns": ["order", "quantity"]},
        {"type": "limit", "count": 4},
    ]
    found = at_once(action="transform", data=ORDERS, operations=operations)
    assert [row["quantity"] for row in found["data"]] == [4, 2, 1, None]


def test_clean() -> None:
    found = at_once(action="clean", data=ORDERS, remove_duplicates=True, handle_missing="drop", columns=["quantity"])
    assert [row["order"] for row in found["data"]] == ["007", "008", "010"]
    assert (found["duplicates_removed"], found["missing_handled"], found["cleaned_count"]) == (1, 1, 3)
    column = [{"n": n} for n in (1, None, None, 4, None)]
    expected = {
        "forward_fill": [1, 1, 1, 4, 4],
        "backward_fill": [1, 4, 4, 4, None],
        "interpolate": [1, 2, 3, 4, None],
        "mean": [1, 2.5, 2.5, 4, 2.5],
    }
    for how, values in expected.items():
        assert [row["n"] for row in at_once(action="clean", data=column, handle_missing=how)["data"]] == values
    outlier = [{"n": n} for n in (1, 2, 3, 2, 1, 400)]
    assert at_once(action="clean", data=outlier, remove_outliers=True)["outliers_removed"] == 1


def test_profile() -> None:
    found = at_once(action="profile", data=ORDERS)
    assert (found["row_count"], found["column_count"], found["duplicate_rows"]) == (5, 7, 1)
    quantity = found["columns"]["quantity"]
    assert (quantity["missing"], quantity["missing_percent"], quantity["type"], quantity["max"]) == (
        2,
        40.0,
        "integer",
        4,
    )
    assert found["columns"]["customer"]["most_common"][0] == {"value": "ann", "count": 3}
    some = at_once(action="profile", data=ORDERS, profiling_options=["missing_values"])
    assert set(some["columns"]["price"]) == {"count", "missing", "missing_percent"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"action": "convert"}, "there is none"),
        ({"action": "convert", "data": "a,b\n1\n"}, "row 1 has 1 cells"),
        ({"action": "convert", "data": "a,a\n1,2\n"}, "same name"),
        ({"action": "convert", "data": '{"a":', "format": "json"}, "not json"),
        ({"action": "convert", "data": "[NaN]"}, "NaN"),
        ({"action": "convert", "data": "[" * 100_000}, "not json"),
        ({"action": "filter", "data": ORDERS, "criteria": "quantity > 1"}, "row 3"),
        ({"action": "filter", "data": ORDERS, "criteria": "__import__('os')"}, "underscore"),
        ({"action": "filter", "data": ORDERS, "criteria": {"price": {"gt": "x"}}}, "row 1"),
        ({"action": "filter", "data": ORDERS, "criteria": {"price": {"about": 3}}}, "unknown operator"),
        ({"action": "aggregate", "data": ORDERS, "aggregations": {"customer": "sum"}}, "not a number"),
        ({"action": "aggregate", "data": ORDERS, "aggregations": {"nothing": "sum"}}, "no column"),
        ({"action": "aggregate", "data": ORDERS, "aggregations": {"price": "eval"}}, "unknown function"),
        ({"action": "aggregate", "data": ORDERS}, "aggregations"),
        ({"action": "transform", "data": ORDERS, "operations": [{"type": "shell"}]}, "operation 1"),
        ({"action": "transform", "data": ORDERS, "transform_spec": {"x": "open('/etc/passwd')"}}, "unknown function"),
        ({"action": "merge", "datasets": [ORDERS]}, "at least two"),
        (
            {"action": "merge", "datasets": [[{"a": 1}] * 1_100, [{"a": 1}] * 1_100], "join_on": "a"},
            "more than 1,000,000",
        ),
        ({"action": "profile", "data": ORDERS, "profiling_options": ["magic"]}, "magic"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        at_once(**arguments)


async def test_a_wrong_argument_through_the_process(tool: Caller) -> None:
    with pytest.raises(InvalidRequest, match="row 3"):
        await tool(action="filter", data=ORDERS, criteria="quantity > 1")


NAMES = st.sampled_from(["x", "y", "z", None])
TABLE = st.lists(
    st.fixed_dictionaries({"k": NAMES, "c": NAMES, "n": st.none() | st.integers(-99, 99)}), min_size=1, max_size=25
)


@settings(max_examples=100, deadline=None)
@given(TABLE)
def test_aggregate_against_plain_sums(rows: list[dict[str, Any]]) -> None:
    plan = {name: {"function": name, "column": "n"} for name in ("sum", "mean", "median", "count", "min", "max")}
    found = at_once(action="aggregate", data=rows, group_by="k", aggregations=plan)["data"]
    groups: dict[Any, list[int]] = defaultdict(list)
    for row in rows:
        groups[row["k"]] += [row["n"]] if row["n"] is not None else []
    assert [row["k"] for row in found] == list(groups)
    for row in found:
        values = groups[row["k"]]
        assert (row["sum"], row["count"]) == (sum(values), len(values))
        assert (row["min"], row["max"]) == ((min(values), max(values)) if values else (None, None))
        assert row["median"] == (statistics.median(values) if values else None)
        assert row["mean"] is None if not values else math.isclose(row["mean"], sum(values) / len(values))


@settings(max_examples=100, deadline=None)
@given(TABLE)
def test_pivot_against_nested_sums(rows: list[dict[str, Any]]) -> None:
    found = at_once(action="pivot", data=rows, index=["k"], columns="c", values="n", aggfunc="sum", fill_value=-1)[
        "data"
    ]
    cells: dict[Any, dict[str, int]] = {}
    for row in rows:
        cell = cells.setdefault(row["k"], {})
        head = row["c"] or "null"
        cell[head] = cell.get(head, 0) + (row["n"] or 0)
    heads = {row["c"] or "null" for row in rows}
    assert found == [{"k": k, **{head: line.get(head, -1) for head in heads}} for k, line in cells.items()]


LEFT = st.lists(
    st.fixed_dictionaries({"k": st.sampled_from([1, 2, "1", True, None]), "a": st.integers(0, 9)}), max_size=8
)
RIGHT = st.lists(
    st.fixed_dictionaries({"k": st.sampled_from([1, 2, "1", True, None]), "a": st.integers(0, 9)}), max_size=8
)


def same(left: Any, right: Any) -> bool:
    return left is not None and left == right and isinstance(left, bool) is isinstance(right, bool)


@settings(max_examples=150, deadline=None)
@given(LEFT, RIGHT, st.sampled_from(["inner", "left", "right", "outer"]))
def test_join_against_a_nested_loop(left: list[dict[str, Any]], right: list[dict[str, Any]], kind: str) -> None:
    found = at_once(action="merge", datasets=[left, right], merge_strategy="join", join_on=["k"], join_type=kind)[
        "data"
    ]
    right_column = [("a_2" if left else "a")] if right else []
    expected = [(a["k"], a["a"], b["a"]) for a in left for b in right if same(a["k"], b["k"])]
    if kind in ("left", "outer"):
        expected += [(a["k"], a["a"], None) for a in left if not any(same(a["k"], b["k"]) for b in right)]
    if kind in ("right", "outer"):
        expected += [(b["k"], None, b["a"]) for b in right if not any(same(a["k"], b["k"]) for a in left)]
    shown = [(row["k"], row["a"] if left else None, row[right_column[0]] if right_column else None) for row in found]
    assert sorted(map(repr, shown)) == sorted(map(repr, expected))


def test_concat_and_combine() -> None:
    one, two = [{"id": 1, "a": None}, {"id": 2, "a": 5}], [{"id": 2, "b": 7}, {"id": 1, "a": 3}]
    found = at_once(action="merge", datasets=[one, two], merge_strategy="concat")["data"]
    assert found == [
        {"id": 1, "a": None, "b": None},
        {"id": 2, "a": 5, "b": None},
        {"id": 2, "a": None, "b": 7},
        {"id": 1, "a": 3, "b": None},
    ]
    found = at_once(action="merge", datasets={"one": one, "two": two}, merge_strategy="combine", join_on="id")["data"]
    assert found == [{"id": 1, "a": 3, "b": None}, {"id": 2, "a": 5, "b": 7}]


CELLS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.fixed_dictionaries({"first": CELLS, "second, column": CELLS}), min_size=1, max_size=6))
def test_csv_is_what_the_library_reads(rows: list[dict[str, Any]]) -> None:
    text = at_once(action="convert", data=rows, output_format="csv")["data"]
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert read == [{name: cell(value) for name, value in row.items()} for row in rows]


def cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
