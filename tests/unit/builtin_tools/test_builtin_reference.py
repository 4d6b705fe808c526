"""The reference of the built-in tools, and what all of them have in common."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "scripts"))

from builtin_reference import EXAMPLES, tools

from orchestrator.domain.tool import CATEGORY_LIMIT, NAME_LIMIT, ToolKind, ToolSource, ToolStatus

TOOLS = tools()
NAMES = {tool.name: tool for tool in TOOLS}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_each_is_whole(tool: Any) -> None:
    assert (tool.execution.kind, tool.source) == (ToolKind.BUILTIN, ToolSource.BUILTIN)
    assert tool.tool_id == tool.name
    assert len(tool.name) <= NAME_LIMIT
    assert len(tool.category) <= CATEGORY_LIMIT
    assert 40 <= len(tool.description) <= 600
    assert tool.execution.timeout > 0
    jsonschema_rs.meta.validate(tool.input_schema)
    jsonschema_rs.meta.validate(tool.output_schema)
    assert tool.input_schema["additionalProperties"] is False


def test_only_what_the_operator_has_to_turn_on_is_off() -> None:
    off = {tool.name for tool in TOOLS if tool.status is ToolStatus.DISABLED}
    assert off == {"python-executor", "sql", "sql-write", "terminal"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_fit(name: str) -> None:
    for example in EXAMPLES[name]:
        jsonschema_rs.validate(NAMES[name].input_schema, example)
