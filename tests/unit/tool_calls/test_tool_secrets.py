"""Which arguments are secret, and what is shown in their place."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.adapters.jsonschema import CompiledSchemas
from orchestrator.services.tool_calls.secrets import masked, secret_paths, told

SECRET = {"type": "string", "writeOnly": True}


@pytest.mark.parametrize(
    ("schema", "arguments", "paths"),
    [
        (None, {"a": 1}, ()),
        ({}, {"a": 1}, ()),
        ({"properties": {"a": SECRET, "b": {}}}, {"a": 1, "b": 2}, ("/a",)),
        ({"properties": {"a": {"format": "password"}}}, {"a": {"deep": 1}}, ("/a",)),
        ({"properties": {"a": SECRET}}, {"b": 1}, ()),
        ({"properties": {"a/b~c": SECRET}}, {"a/b~c": 1}, ("/a~1b~0c",)),
        ({"properties": {"a": {"items": SECRET}}}, {"a": ["x", "y"]}, ("/a/0", "/a/1")),
        ({"additionalProperties": SECRET, "properties": {"a": {}}}, {"a": 1, "b": 2}, ("/b",)),
        ({"properties": {"a": {"$ref": "#/$defs/s"}}, "$defs": {"s": SECRET}}, {"a": 1}, ("/a",)),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, SECRET]}}}, {"a": 1}, ("/a",)),
        ({"allOf": [{"properties": {"a": SECRET}}, {"properties": {"a": SECRET}}]}, {"a": 1}, ("/a",)),
        ({"$ref": "#"}, {"a": 1}, ()),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}}}}, {"a": {"a": {}}}, ()),
        (SECRET, {"a": 1}, ("",)),
        ({"properties": 3, "items": 4, "allOf": {}, "$ref": 5}, {"a": [1]}, ()),
    ],
)
def test_secrets_are_found_by_the_schema(schema: Any, arguments: Any, paths: tuple[str, ...]) -> None:
    assert secret_paths(schema, arguments) == paths


def test_a_schema_with_many_branches_takes_no_time() -> None:
    schema: dict[str, Any] = {"writeOnly": True}
    for _ in range(31):
        schema = {"anyOf": [schema, schema], "allOf": [schema, schema]}
    assert secret_paths(schema, {"a": 1}) == ("",)
    twice = {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"anyOf": [{"$ref": "#"}] * 2}]}}}
    assert secret_paths(twice, {"a": 1}) == ()


def test_what_is_too_deep_to_be_looked_at_is_secret() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5_000):
        schema = {"not": {}, "allOf": [schema]}
    assert secret_paths(schema, {"a": 1}) == ("",)
    while schema:
        [schema] = schema.get("allOf", [{}])


def test_what_is_secret_is_masked_in_a_copy() -> None:
    arguments = {"a": "x", "b": ["y", {"c": "z"}], "d/e": 1}
    assert masked(arguments, ["/a", "/b/1/c", "/d~1e", "/b/9", "/no/such"]) == {
        "a": "***",
        "b": ["y", {"c": "***"}],
        "d/e": "***",
    }
    assert masked(arguments, ["", "/a"]) == {"a": "***", "b": "***", "d/e": "***"}
    assert arguments["a"] == "x"


def test_messages_do_not_tell_the_secret() -> None:
    schema = {"properties": {"key": SECRET | {"minLength": 9}}, "required": ["other"], "maxProperties": 0}
    arguments = {"key": "hunter2"}
    found = told(CompiledSchemas().violations(schema, arguments), ["/key"], arguments)
    assert {one["keyword"] for one in found} == {"minLength", "required", "maxProperties"}
    assert "hunter2" not in repr(found)
    assert '"other" is a required property' in {one["message"] for one in found}
