"""The tools `approval-gate` and `user-prompt`, after a person has agreed."""

from __future__ import annotations

from typing import Any

import pytest
from builtin_calls import Caller

from orchestrator.adapters.jsonschema import CompiledSchemas
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.tool_call import needs_approval
from orchestrator.services.builtin_tools.people import ApprovalGate, UserPrompt


def prompt() -> UserPrompt:
    return UserPrompt(CompiledSchemas(), lambda: 1_000.0)


@pytest.mark.parametrize("tool", [ApprovalGate(), prompt()])
def test_they_always_need_a_person(tool: ApprovalGate | UserPrompt) -> None:
    assert needs_approval(tool.tool, {})


async def test_what_was_agreed_to_comes_back() -> None:
    told = await Caller(ApprovalGate())(title="Send it?", content={"text": "x"}, format="json")
    assert (told["approved"], told["status"], told["approval_id"]) == (True, "approved", "call-1")
    assert told["modified_content"] == {"text": "x"}
    other = await Caller(ApprovalGate())(title="Send it?", content={"text": "y"})
    assert told["content_hash"] != other["content_hash"]


@pytest.mark.parametrize(
    ("arguments", "value", "by_default"),
    [
        ({"value": "a"}, "a", False),
        ({"default": "b"}, "b", True),
        ({"value": 1.5, "input_type": "number"}, 1.5, False),
        ({"value": False, "input_type": "boolean", "default": True}, False, False),
        ({"value": "x", "input_type": "choice", "choices": ["x", "y"]}, "x", False),
        ({"value": "ab-12", "validation_pattern": "^[a-z]+-[0-9]+$", "timeout": 60, "max_retries": 1}, "ab-12", False),
    ],
)
async def test_an_answer(arguments: dict[str, Any], value: object, by_default: bool) -> None:
    told = await Caller(prompt())(prompt="?", **arguments)
    assert (told["value"], told["used_default"]) == (value, by_default)
    assert told["response_time"] == 1_000


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"value": 1},
        {"default": True, "input_type": "number"},
        {"default": "yes", "input_type": "boolean"},
        {"value": "z", "input_type": "choice", "choices": ["x"]},
        {"value": "z", "input_type": "choice"},
        {"value": "AB", "validation_pattern": "^[a-z]+$"},
        {"default": "AB", "validation_pattern": "^[a-z]+$"},
    ],
)
async def test_no_answer(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="value:"):
        await Caller(prompt())(prompt="?", **arguments)


@pytest.mark.parametrize("value", [True, "7"])
def test_an_answer_of_a_wrong_type_is_refused_before_it_counts(value: object) -> None:
    schema = prompt().tool.input_schema
    assert CompiledSchemas().violations(schema, {"prompt": "?", "input_type": "number", "value": value})
    assert not CompiledSchemas().violations(schema, {"prompt": "?", "input_type": "number", "value": 7})


async def test_a_pattern_that_is_none() -> None:
    with pytest.raises(InvalidRequest):
        await Caller(prompt())(prompt="?", value="x", validation_pattern="(")
