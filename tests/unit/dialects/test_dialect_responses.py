"""The Responses API in front of every kind of node."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dialect_clients import responses_events, strictly
from dialect_samples import (
    ARGUMENTS,
    FEATURES,
    PNG,
    RESPONSES,
    SCHEMA,
    TEXT,
    THOUGHT,
    answer_of,
    openai_answer,
    stream_of,
    through,
)
from openai.types.responses import Response

from orchestrator.domain.node import Dialect

ASK: dict[str, Any] = {
    "model": "m",
    "instructions": "be brief",
    "input": "weather?",
    "temperature": 0.5,
    "max_output_tokens": 900,
    "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": None}],
    "reasoning": {"effort": "low"},
}


def check(response: Response, feature: str) -> None:
    assert response.status == "completed"
    assert response.output_text == TEXT[feature]
    calls = [(item.name, json.loads(item.arguments)) for item in response.output if item.type == "function_call"]
    assert calls == ([("weather", ARGUMENTS)] if feature == "tools" else [])
    thoughts = [item.content[0].text for item in response.output if item.type == "reasoning"]
    assert thoughts == ([THOUGHT] if feature == "reasoning" else [])
    assert response.usage.input_tokens == 11
    assert response.usage.total_tokens == 18
    assert (response.model, response.instructions, response.temperature) == ("alias", "be brief", 0.5)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("target", Dialect)
def test_a_complete_response(target: Dialect, feature: str) -> None:
    translation = through(RESPONSES, target, ASK)
    check(strictly(Response, translation.response(answer_of(target, feature))), feature)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("target", Dialect)
def test_a_streamed_response(target: Dialect, feature: str) -> None:
    stream = through(RESPONSES, target, ASK | {"stream": True}).stream()
    events = responses_events(stream.feed(stream_of(target, feature)) + stream.finish())

    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done")
    check(strictly(Response, events[-1].response.model_dump(exclude_unset=True, by_alias=True)), feature)
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == TEXT[feature]
    thought = "".join(event.delta for event in events if event.type == "response.reasoning_text.delta")
    assert thought == (THOUGHT if feature == "reasoning" else "")


def test_a_cut_response_is_incomplete() -> None:
    answer = openai_answer("plain")
    answer["choices"][0]["finish_reason"] = "length"
    response = strictly(Response, through(RESPONSES, Dialect.OPENAI, ASK).response(answer))
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


def test_input_items_become_a_chat() -> None:
    items = [
        {"role": "developer", "content": "rules"},
        {"role": "user", "content": [
            {"type": "input_text", "text": "look"},
            {"type": "input_image", "detail": "low", "image_url": f"data:image/png;base64,{PNG}"},
        ]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "calling"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": json.dumps(ARGUMENTS)},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"role": "user", "content": "and now?"},
    ]  # fmt: skip
    out = through(RESPONSES, Dialect.OPENAI, ASK | {"input": items}).request()
    roles = [message["role"] for message in out["messages"]]
    assert roles == ["system", "system", "user", "assistant", "tool", "user"]
    assistant = out["messages"][3]
    assert (assistant["content"], assistant["reasoning_content"]) == ("calling", "hm")
    assert assistant["tool_calls"][0]["id"] == out["messages"][4]["tool_call_id"] == "c1"
    assert out["messages"][2]["content"][1]["image_url"] == {"url": f"data:image/png;base64,{PNG}", "detail": "low"}
    assert (out["temperature"], out["max_tokens"], out["reasoning_effort"]) == (0.5, 900, "low")
    assert out["tools"][0]["function"]["name"] == "weather"

    anthropic = through(RESPONSES, Dialect.ANTHROPIC, ASK | {"input": items}).request()
    assert anthropic["system"] == "be brief\n\nrules"
    assert [message["role"] for message in anthropic["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("shape", "ollama"),
    [
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "name": "place", "schema": SCHEMA}, SCHEMA),
    ],
)
def test_text_format(shape: dict[str, Any], ollama: Any) -> None:
    assert through(RESPONSES, Dialect.OLLAMA, ASK | {"text": {"format": shape}}).request()["format"] == ollama


def test_logprobs_are_asked_for_and_given() -> None:
    body = ASK | {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    translation = through(RESPONSES, Dialect.OPENAI, body)
    out = translation.request()
    assert (out["logprobs"], out["top_logprobs"]) == (True, 2)
    answer = openai_answer("plain")
    answer["choices"][0]["logprobs"] = {"content": [{"token": "H", "logprob": -1.0, "top_logprobs": []}]}
    response = strictly(Response, translation.response(answer))
    assert response.output[0].content[0].logprobs[0].token == "H"
