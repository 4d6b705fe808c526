"""The tool `validation`."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from builtin_calls import Caller
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.jsonschema import CompiledSchemas
from orchestrator.domain.errors import InvalidRequest, NotAvailable, ToolFailed
from orchestrator.services.builtin_tools.validation import Validation
from orchestrator.services.builtin_tools.validation.coercion import Coercion
from orchestrator.services.builtin_tools.validation.inference import inferred

ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^ORD-[0-9]{3}$"},
        "quantity": {"type": "integer", "minimum": 1},
        "price": {"$ref": "#/$defs/price"},
        "sent": {"type": "boolean"},
        "status": {"enum": ["open", "closed"], "default": "open"},
    },
    "required": ["id", "quantity"],
    "$defs": {"price": {"type": ["number", "null"]}},
}


@pytest.fixture
def validation() -> Caller:
    return Caller(Validation(CompiledSchemas()))


async def test_strict_tells_every_violation(validation: Caller) -> None:
    data = {"id": "ORD-1", "quantity": 0, "price": "3"}
    found = await validation(data=data, schema=ORDER)
    assert (found["valid"], found["success"], found["mode"], found["rows_validated"]) == (False, False, "strict", 1)
    assert {error["path"]: (error["validator"], error["instance"]) for error in found["errors"]} == {
        "/id": ("pattern", "ORD-1"),
        "/quantity": ("minimum", 0),
        "/price": ("type", "3"),
    }
    assert all(error["message"] and error["schema_path"] for error in found["errors"])
    assert (await validation(data=data, schema=ORDER, mode="REPORT_ONLY"))["success"] is True
    assert (await validation(data={"id": "ORD-123", "quantity": 1}, schema=ORDER))["valid"] is True


async def test_lenient_makes_values_fit(validation: Caller) -> None:
    data = {"id": "ORD-123", "quantity": "4", "price": "3.50", "sent": "yes"}
    found = await validation(action="validate", data=data, schema=ORDER, mode="LENIENT")
    assert found["valid"] is True
    assert found["data"] == {"id": "ORD-123", "quantity": 4, "price": 3.5, "sent": True, "status": "open"}
    assert '/quantity: "4" became 4' in found["warnings"]
    found = await validation(data={"id": "ORD-123", "quantity": "four"}, schema=ORDER, mode="lenient")
    assert [error["path"] for error in found["errors"]] == ["/quantity"]


async def test_rows_of_a_table(validation: Caller) -> None:
    table = "id,quantity,status\nORD-001,2,open\nORD-2,,OPEN\n"
    found = await validation(data=table, schema=ORDER)
    assert (found["rows_validated"], found["valid"]) == (2, False)
    assert [error["path"] for error in found["errors"]] == ["/1/id", "/1/quantity", "/1/status"]
    found = await validation(data=[{"id": "x"}] * 200, schema=ORDER)
    assert (len(found["errors"]), found["rows_validated"]) == (50, 200)


async def test_texts_are_read_unless_a_text_is_wanted(validation: Caller) -> None:
    assert (await validation(data='{"id": "ORD-123", "quantity": 2}', schema=ORDER))["valid"] is True
    assert (await validation(data="12", schema={"type": "integer"}))["valid"] is True
    assert (await validation(data="12", schema={"type": "string"}))["data"] == "12"
    assert (await validation(data='{"id":', schema=ORDER))["valid"] is False


async def test_extraction_without_a_model(validation: Caller) -> None:
    text = 'Here it is:\n```json\n{"id": "ORD-007", "quantity": "3"}\n```\nGood luck {not json}'
    found = await validation(action="extract_structured", text=text, schema=ORDER)
    assert (found["method"], found["valid"]) == ("json", True)
    assert found["data"] == {"id": "ORD-007", "quantity": 3, "status": "open"}
    text = "Dear all,\n- **ID**: ORD-008\n* Quantity = 12,\nSent: no\nunknown: 3\nBye"
    found = await validation(action="extract_structured", text=text, schema=ORDER)
    assert (found["method"], found["data"]["quantity"], found["data"]["sent"]) == ("fields", 12, False)
    found = await validation(
        action="extract_structured", text="x [1, 2] y", schema={"type": "array", "items": {"type": "string"}}
    )
    assert found["data"] == ["1", "2"]
    with pytest.raises(ToolFailed, match="neither JSON"):
        await validation(action="extract_structured", text="nothing to see", schema=ORDER)
    with pytest.raises(NotAvailable, match="model"):
        await validation(action="extract_structured", text="x", schema=ORDER, model="gpt")


async def test_inference(validation: Caller) -> None:
    samples = [
        {"id": 1, "when": "2026-01-02", "mail": "a@b.org", "tags": ["x"], "price": 1},
        {"id": 2, "when": "2026-02-03", "mail": "c@d.org", "tags": [], "price": 1.5, "note": None},
    ]
    found = (await validation(action="infer_schema", data=samples))["schema"]
    items = found["items"]
    assert items["properties"] == {
        "id": {"type": "integer"},
        "when": {"type": "string", "format": "date"},
        "mail": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "price": {"type": "number"},
        "note": {"type": "null"},
    }
    assert items["required"] == ["id", "when", "mail", "tags", "price"]
    assert (await validation(data=samples, schema=found))["valid"] is True


async def test_quality(validation: Caller) -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b": "x"}, {"a": 2, "b": None}, {"a": "3", "b": "y"}, {"a": 1, "b": "x"}]
    found = await validation(action="quality_check", data=rows)
    assert found["dimensions"] == {"completeness": 7 / 8, "uniqueness": 3 / 4, "consistency": 6 / 7}
    assert found["quality_score"] == pytest.approx((7 / 8 + 3 / 4 + 6 / 7) / 3)
    assert found["passed"] is True
    schema = {"properties": {"a": {"type": "integer"}}}
    found = await validation(action="quality_check", data=rows, schema=schema, threshold=0.9)
    assert (found["dimensions"]["validity"], found["passed"], found["errors"][0]["path"]) == (3 / 4, False, "/2/a")
    assert (await validation(action="quality_check", data=[]))["passed"] is False


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "https://example.com/schema"}, {"pattern": "("}])
async def test_a_schema_that_is_none(validation: Caller, schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await validation(data=1, schema=schema)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_data_fit_the_schema_that_was_inferred_from_them(data: Any) -> None:
    schema = inferred(data)
    assert jsonschema_rs.is_valid(schema, data)
    coercion = Coercion(schema)
    assert json.dumps(coercion.value(data, schema)) == json.dumps(data)  # what fits stays
    assert coercion.changes == []


@settings(max_examples=200, deadline=None)
@given(JSON, JSON)
def test_any_schema_and_any_value_end_well(schema: Any, value: Any) -> None:
    Coercion(schema if isinstance(schema, dict) else {}).value(value, schema)


def test_references_that_go_round() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert Coercion(schema).value({"x": 1}, schema) == {"x": 1}
