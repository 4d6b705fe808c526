"""The schema and the reference page."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema_rs
import pytest

from orchestrator.settings import Settings, apply, dump, keys, reference, schema
from orchestrator.settings.reference import schema_text

DOCS = Path(__file__).parents[3] / "docs" / "reference"
HINT = "run: python -m orchestrator.settings docs/reference"


def test_the_committed_pages_are_current() -> None:
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == reference(), HINT
    assert (DOCS / "settings.schema.json").read_text(encoding="utf-8") == schema_text(), HINT


def test_every_key_is_described() -> None:
    page = reference()
    for path, key in keys().items():
        assert f"`{path}`" in page
        assert f"`{key.environment}`" in page
        assert key.description
        for name, field in key.item.model_fields.items() if key.item else ():
            assert f"`{path}[].{name}`" in page
            assert field.description


def test_the_schema_accepts_what_the_model_accepts() -> None:
    validator = jsonschema_rs.validator_for(schema())
    full = apply(
        Settings(),
        {
            "nodes": [{"id": "a", "url": "http://h", "api_key": "env:X", "labels": {"a": "b"}}],
            "auth.keys": [{"name": "a", "key": "12345678"}],
            "models.aliases": {"a": ["b", "c"]},
            "server.listeners": [{"port": 1}],
        },
    )
    for good in (
        {},
        dump(Settings()),
        dump(full, redact=False),
        {"queue": {"timeout": "30s"}, "models": {"aliases": {"a": "b"}}},
    ):
        assert validator.is_valid(json.loads(json.dumps(good)))
        apply(Settings(), good)


@pytest.mark.parametrize(
    "bad",
    [
        {"server": {"prot": 1}},
        {"serve": {}},
        {"server": {"port": 70000}},
        {"queue": {"timeout": "soon"}},
        {"gateway": {"policy": "best"}},
        {"nodes": [{"id": "a"}]},
        {"nodes": [{"id": "a", "url": "http://h", "extra": 1}]},
    ],
)
def test_the_schema_refuses_what_the_model_refuses(bad: dict[str, object]) -> None:
    assert not jsonschema_rs.validator_for(schema()).is_valid(bad)


def test_the_schema_marks_live_keys() -> None:
    defs = schema()["$defs"]
    assert defs["Queue"]["properties"]["max_size"]["live"] is True
    assert "live" not in defs["Server"]["properties"]["port"]
