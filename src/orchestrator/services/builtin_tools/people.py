"""Questions to people: a call waits in the inbox of approvals until somebody decides, and only then is carried out. One
that is refused or that nobody answers never gets here: its call says REJECTED or EXPIRED."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.tool import ApprovalRule, SideEffect, Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.schemas import Schemas
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    NUMBER,
    TEXT,
    Schema,
    choice,
    described,
    fields,
    offered,
    results,
)

INPUTS = ("text", "number", "boolean", "choice")
FORMATS = ("text", "markdown", "json")
TIMEOUT = 30.0


def approval_offer() -> Tool:
    takes = {
        "title": described(TEXT, "What is to be decided.", minLength=1, maxLength=500),
        "content": {"description": "What is agreed to; who approves may send it changed."},
        "format": choice(FORMATS, "How the content is to be shown.", default="text"),
        "context": {"description": "Anything that helps to decide."},
        "allow_modifications": described(
            FLAG, "Whether who approves may send other arguments; false: the call is approved as it is.", default=True
        ),
        "require_reason": described(FLAG, "Whether a refusal needs a reason.", default=False),
        "auto_approve_hash": described(TEXT, "Accepted and without effect: a person always decides."),
    }
    made = {
        "approved": FLAG,
        "status": TEXT,
        "approval_id": TEXT,
        "content_hash": TEXT,
        "modified_content": {},
        "rejection_reason": {"type": "null"},
    }
    return offered(
        "approval-gate",
        "people",
        "Asks a person to agree. The call waits in the inbox of approvals: approved, it returns the content as it was "
        "agreed to; refused, it ends as REJECTED with the reason; unanswered, as EXPIRED.",
        SideEffect.READ,
        fields(takes, ("title", "content")),
        results(made, ("approved", "status", "approval_id", "content_hash", "modified_content")),
        TIMEOUT,
        ApprovalRule.ALWAYS,
    )


def prompt_offer() -> Tool:
    takes = {
        "prompt": described(TEXT, "The question.", minLength=1, maxLength=10_000),
        "input_type": choice(INPUTS, "Of the answer.", default="text"),
        "choices": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 100, "description": "For choice."},
        "default": {"description": "The answer when who approves gives none."},
        "context": {"description": "Anything that helps to answer."},
        "value": {"description": "The answer: who approves the call sends its arguments with it."},
        "validation_pattern": described(
            TEXT, "For text: a regular expression that occurs in the answer; without look-around and back-references."
        ),
        "timeout": {
            "type": "number",
            "minimum": 0,
            "default": 0,
            "description": "Accepted and without effect: a call waits as long as the operator says "
            "(tools.approval_expires).",
        },
        "max_retries": described(
            COUNT, "Accepted and without effect: the call waits on after an answer of a wrong type.", default=3
        ),
    }
    return offered(
        "user-prompt",
        "people",
        "Asks a person a question. The call waits in the inbox of approvals; who approves it sends the arguments with "
        "the answer as value. Without one the default is the answer.",
        SideEffect.READ,
        fields(takes, ("prompt",), allOf=[_typed("number", {"type": "number"}), _typed("boolean", FLAG)]),
        results(
            {"value": {}, "input_type": TEXT, "response_time": NUMBER, "used_default": FLAG, "skipped": FLAG},
            ("value", "response_time", "used_default", "skipped"),
        ),
        TIMEOUT,
        ApprovalRule.ALWAYS,
    )


class ApprovalGate:
    """`BuiltinTool`."""

    def __init__(self) -> None:
        self.tool = approval_offer()

    async def run(self, order: CallOrder) -> CallOutcome:
        content = order.arguments["content"]
        told = {"approved": True, "status": "approved", "approval_id": order.call_id, "content_hash": _hash(content)}
        return CallOutcome(told | {"modified_content": content, "rejection_reason": None})


class UserPrompt:
    """`BuiltinTool`."""

    def __init__(self, schemas: Schemas, wall: Callable[[], float]) -> None:
        """`wall` tells the time in seconds since the epoch."""
        self.tool = prompt_offer()
        self._schemas = schemas
        self._wall = wall

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        kind, by_default = given.get("input_type", "text"), "value" not in given
        if by_default and "default" not in given:
            raise InvalidRequest("value: there is no answer and no default", details={"field": "value"})
        value = _answer(given, given["default"] if by_default else given["value"], kind)
        pattern = given.get("validation_pattern")
        if pattern and self._schemas.violations({"pattern": pattern}, value):
            raise InvalidRequest("value: the answer does not fit the validation_pattern", details={"field": "value"})
        told = {"value": value, "input_type": kind, "used_default": by_default, "skipped": False}
        return CallOutcome(told | {"response_time": max(0.0, self._wall() - order.created_at)})


def _typed(kind: str, schema: Schema) -> Schema:
    """A condition for `allOf`: what answers of a kind look like."""
    chosen = {"properties": {"input_type": {"const": kind}}, "required": ["input_type"]}
    return {"if": chosen, "then": {"properties": {"value": schema}}}


def _answer(given: Mapping[str, Any], value: Any, kind: str) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = {
        "text": isinstance(value, str),
        "number": number,
        "boolean": isinstance(value, bool),
        "choice": value in given.get("choices", ()),
    }
    if not fits[kind]:
        raise InvalidRequest(f"value: the answer is no {kind}", details={"field": "value"})
    return value


def _hash(content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
