"""`--arg NAME=VALUE` becomes what the input schema asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.entrypoints.cli.failure import WrongUsage
from orchestrator.entrypoints.cli.tool_arguments import arguments_of, kinds_of

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "loud": {"type": "boolean"},
        "nothing": {"type": "null"},
        "names": {"type": "array", "items": {"type": "string"}},
        "sizes": {"type": "array", "items": {"$ref": "#/$defs/size"}},
        "options": {"type": "object"},
        "perhaps": {"type": ["integer", "null"]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "chosen": {"enum": [1, 2, "auto"]},
        "fixed": {"const": True},
        "referred": {"$ref": "#/$defs/size"},
        "loop": {"$ref": "#/$defs/loop"},
        "elsewhere": {"$ref": "https://example.com/schema"},
        "anything": {},
        "one_or_many": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    },
    "$defs": {"size": {"type": "integer", "minimum": 1}, "loop": {"$ref": "#/$defs/loop"}},
}


def given(*pairs: str, json: tuple[str, ...] = (), file: Path | None = None, schema: Any = SCHEMA) -> dict[str, Any]:
    return arguments_of(pairs, json, file, schema)


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("text=5", "5"),
        ("text=", ""),
        ("text=a=b", "a=b"),
        ("text=true", "true"),
        ("count=5", 5),
        ("count=-12", -12),
        ("count=5.0", 5),
        ("count=100000000000000000000", 10**20),
        ("share=0.5", 0.5),
        ("share=2", 2),
        ("share=1e3", 1000.0),
        ("loud=true", True),
        ("loud=No", False),
        ("loud=1", True),
        ("nothing=null", None),
        ("names=a", ["a"]),
        ("names=5", ["5"]),
        ('names=["a", "b"]', ["a", "b"]),
        ("sizes=3", [3]),
        ('options={"a": [1]}', {"a": [1]}),
        ("perhaps=null", None),
        ("perhaps=7", 7),
        ("either=7", 7),
        ("either=seven", "seven"),
        ("chosen=2", 2),
        ("chosen=auto", "auto"),
        ("fixed=true", True),
        ("referred=4", 4),
        ("loop=x", "x"),
        ("elsewhere=5", "5"),
        ("anything=5", "5"),
        ("unknown=5", "5"),
        ("one_or_many=a", "a"),
        ('one_or_many=["a"]', ["a"]),
    ],
)
def test_a_value_becomes_its_type(pair: str, value: Any) -> None:
    found = given(pair)[pair.partition("=")[0]]

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "pair",
    [
        "count=five",
        "count=1.5",
        "count=true",
        "count=NaN",
        "share=Infinity",
        "share=",
        "loud=perhaps",
        "options=a",
        "sizes=x",
        "options=[1]",
        "nothing=x",
        "text",
        "=x",
    ],
)
def test_what_is_no_value_of_the_type_is_refused(pair: str) -> None:
    with pytest.raises(WrongUsage, match=pair.partition("=")[0] or "NAME=VALUE"):
        given(pair)


def test_a_list_is_given_item_by_item() -> None:
    assert given("names=a", "sizes=1", "names=b", "sizes=2") == {"names": ["a", "b"], "sizes": [1, 2]}
    with pytest.raises(WrongUsage, match="2 times"):
        given("text=a", "text=b")


def test_without_a_schema_everything_is_text() -> None:
    assert given("a=1", "b=true", schema=None) == {"a": "1", "b": "true"}


def test_json_and_files_say_exactly_what_is_meant(tmp_path: Path) -> None:
    file = tmp_path / "arguments.yaml"
    file.write_text("text: from the file\ncount: 1\noptions: {a: 1}\n")

    assert given("text=last", json=("count=2", "new=[1, null]"), file=file) == {
        "text": "last",
        "count": 2,
        "options": {"a": 1},
        "new": [1, None],
    }
    with pytest.raises(WrongUsage, match="not JSON"):
        given(json=("count=five",))
    with pytest.raises(WrongUsage, match="not JSON"):
        given(json=("count=NaN",))


@pytest.mark.parametrize("content", ["[1]", "{", '"text"'])
def test_a_file_has_an_object(content: str, tmp_path: Path) -> None:
    file = tmp_path / "arguments.json"
    file.write_text(content)
    with pytest.raises(WrongUsage, match="--args-file"):
        given(file=file)


@pytest.mark.parametrize(
    "schema", [True, {"anyOf": [True, {}]}, {"anyOf": 5}, {"type": 5}, {"type": [[]]}, {"enum": 1}]
)
def test_kinds_of_a_schema_that_is_none(schema: Any) -> None:
    assert kinds_of(schema, {}) == frozenset()
