"""JSON Schema as tools use it: precise violations, nothing fetched, no pattern that takes for ever."""

from __future__ import annotations

import time

import pytest

from orchestrator.adapters.jsonschema import CompiledSchemas
from orchestrator.adapters.jsonschema.compiled import MOST_COMPILED, MOST_PROBLEMS
from orchestrator.domain.errors import InvalidRequest

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "a/b~c": {"type": "array", "items": {"type": "integer"}}},
    "required": ["name"],
    "additionalProperties": False,
}


def test_each_violation_says_where_it_is_in_the_value_and_in_the_schema() -> None:
    found = CompiledSchemas().violations(PERSON, {"name": 1, "a/b~c": [1, "x"], "more": 0})
    assert [(one["path"], one["schema_path"], one["keyword"]) for one in found] == [
        ("", "/additionalProperties", "additionalProperties"),
        ("/a~1b~0c/1", "/properties/a~1b~0c/items/type", "type"),
        ("/name", "/properties/name/type", "type"),
    ]
    assert "more" in found[0]["message"]


def test_a_value_that_fits_has_no_violations() -> None:
    assert CompiledSchemas().violations(PERSON, {"name": "x"}) == ()


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": True}, 2, 3),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "if": {"const": 1}, "then": False}, 2, 1),
        ({"prefixItems": [{"type": "integer"}]}, [1], ["a"]),
        ({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "array", "items": {"$ref": "#"}}}}, [[[]]], [[1]]),
        ({"type": "string", "format": "date"}, "2026-11-21", "yesterday"),
    ],
)
def test_drafts_and_references_within_the_schema(schema: dict[str, object], good: object, bad: object) -> None:
    schemas = CompiledSchemas()
    assert schemas.violations(schema, good) == ()
    assert schemas.violations(schema, bad) != ()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"properties": 3},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "other.json"},
        {"$ref": "#/$defs/missing"},
        {"$schema": "http://127.0.0.1:9/dialect"},
        {"pattern": "(?=a)b"},
        {"pattern": "(a)\\1"},
        {"pattern": "((a{1000}){1000}){1000}"},
        {"x": {1, 2}},
    ],
)
def test_what_is_no_usable_schema_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        CompiledSchemas().check(schema)


def test_a_schema_that_is_nested_too_deep_is_refused() -> None:
    schema: dict[str, object] = {}
    for _ in range(5_000):
        schema = {"not": schema}
    with pytest.raises(InvalidRequest):
        CompiledSchemas().check(schema)


def test_a_circle_of_references_ends() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    assert CompiledSchemas().violations(schema, {"x": 1}) == ()


def test_a_value_that_is_nested_too_deep_is_a_violation_and_no_crash() -> None:
    value: object = 1
    for _ in range(5_000):
        value = [value]
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}
    assert len(CompiledSchemas().violations(schema, value)) == 1


def test_a_nested_repetition_takes_no_time() -> None:
    begun = time.monotonic()
    assert CompiledSchemas().violations({"pattern": "^(a+)+$"}, "a" * 50_000 + "b") != ()
    assert time.monotonic() - begun < 1


def test_violations_and_compiled_schemas_are_bounded() -> None:
    schemas = CompiledSchemas()
    assert len(schemas.violations({"items": {"type": "string"}}, list(range(500)))) == MOST_PROBLEMS
    for number in range(MOST_COMPILED + 10):
        schemas.check({"const": number})
    assert len(schemas._compiled) == MOST_COMPILED
