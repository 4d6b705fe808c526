"""Every pair of dialects, every feature, whole and streamed, seen by the real clients."""

from __future__ import annotations

import json
from itertools import pairwise, product
from typing import Any

import pydantic
import pytest
from anthropic.types import message_create_params as anthropic_params
from dialect_clients import Seen, see, see_stream
from dialect_samples import (
    ARGUMENTS,
    CHAT_OF,
    FEATURES,
    PNG,
    SCHEMA,
    TEXT,
    THOUGHT,
    answer_of,
    request_of,
    stream_of,
    through,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from ollama._types import ChatRequest
from openai.types.chat import completion_create_params as openai_params

from orchestrator.domain.node import Dialect

PAIRS = list(product(Dialect, Dialect))
FINISH = {
    Dialect.OPENAI: ("stop", "tool_calls"),
    Dialect.ANTHROPIC: ("end_turn", "tool_use"),
    Dialect.OLLAMA: ("stop", "stop"),
}


def check(seen: Seen, source: Dialect, feature: str) -> None:
    assert seen.text == TEXT[feature]
    assert seen.reasoning == (THOUGHT if feature == "reasoning" else "")
    assert seen.calls == ([("weather", ARGUMENTS)] if feature == "tools" else [])
    assert seen.finish == FINISH[source][feature == "tools"]
    assert (seen.prompt_tokens, seen.completion_tokens) == (11, 7)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_complete_answer_means_the_same_to_the_client(source: Dialect, target: Dialect, feature: str) -> None:
    translation = through(CHAT_OF[source], target, request_of(source, feature, stream=False))
    translation.request()

    check(see(source, translation.response(answer_of(target, feature))), source, feature)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_stream_means_the_same_however_its_bytes_are_split(source: Dialect, target: Dialect, feature: str) -> None:
    body = request_of(source, feature, stream=True)
    if source is Dialect.OPENAI:
        body["stream_options"] = {"include_usage": True}
    data = stream_of(target, feature)

    def run(cuts: list[int]) -> bytes:
        stream = through(CHAT_OF[source], target, body).stream()
        edges = [0, *sorted(cuts), len(data)]
        out = b"".join(stream.feed(data[a:b]) for a, b in pairwise(edges))
        out += stream.finish()
        assert stream.finished
        assert stream.usage is not None
        assert (stream.usage.prompt_tokens, stream.usage.completion_tokens) == (11, 7)
        assert stream.text_len == len(TEXT[feature])
        return out

    whole = run([])
    check(see_stream(source, whole), source, feature)
    assert run(list(range(1, len(data)))) == whole

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.integers(0, len(data)), max_size=12))
    def any_split(cuts: list[int]) -> None:
        assert run(cuts) == whole

    any_split()


@pytest.mark.parametrize(("source", "target"), [p for p in PAIRS if p[1] is Dialect.OPENAI])
def test_a_request_reaches_an_openai_node_whole(source: Dialect, target: Dialect) -> None:
    plain = through(CHAT_OF[source], target, request_of(source, "plain", stream=True)).request()
    assert plain["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "weather?"},
    ]
    assert (plain["temperature"], plain["max_tokens"], plain["stream"]) == (0.5, 40000, True)
    if source is not target:
        assert plain["stream_options"] == {"include_usage": True}

    tools = through(CHAT_OF[source], target, request_of(source, "tools", stream=False)).request()
    assert tools["tools"][0]["function"]["parameters"] == SCHEMA
    call, result = tools["messages"][2:]
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == ARGUMENTS
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]
    assert result["content"] == "rain"

    picture = through(CHAT_OF[source], target, request_of(source, "images", stream=False)).request()
    assert picture["messages"][1]["content"] == [
        {"type": "text", "text": "weather?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    shaped = through(CHAT_OF[source], target, request_of(source, "json", stream=False)).request()
    assert shaped["response_format"]["json_schema"]["schema"] == SCHEMA
    thinking = through(CHAT_OF[source], target, request_of(source, "reasoning", stream=False)).request()
    assert thinking["reasoning_effort"] == ("medium" if source is Dialect.OLLAMA else "low")


@pytest.mark.parametrize("source", Dialect)
def test_a_request_reaches_an_anthropic_node_whole(source: Dialect) -> None:
    target = Dialect.ANTHROPIC
    plain = through(CHAT_OF[source], target, request_of(source, "plain", stream=True)).request()
    assert plain["system"] == "be brief"
    assert plain["messages"] == [{"role": "user", "content": "weather?"}]
    assert (plain["temperature"], plain["max_tokens"], plain["stream"]) == (0.5, 40000, True)

    tools = through(CHAT_OF[source], target, request_of(source, "tools", stream=False)).request()
    assert tools["tools"][0] == {"name": "weather", "description": "of a city", "input_schema": SCHEMA}
    call, result = tools["messages"][1]["content"][0], tools["messages"][2]["content"][0]
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "weather", ARGUMENTS)
    assert (result["type"], result["tool_use_id"], result["content"]) == ("tool_result", call["id"], "rain")

    picture = through(CHAT_OF[source], target, request_of(source, "images", stream=False)).request()
    assert picture["messages"][0]["content"][1] == {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PNG},
    }
    shaped = through(CHAT_OF[source], target, request_of(source, "json", stream=False)).request()
    assert shaped["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    thinking = through(CHAT_OF[source], target, request_of(source, "reasoning", stream=False)).request()
    budget = 8192 if source is Dialect.OLLAMA else 2048
    assert thinking["thinking"] == {"type": "enabled", "budget_tokens": budget}


@pytest.mark.parametrize("source", Dialect)
def test_a_request_reaches_an_ollama_node_whole(source: Dialect) -> None:
    target = Dialect.OLLAMA
    plain = through(CHAT_OF[source], target, request_of(source, "plain", stream=True)).request()
    assert plain["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "weather?"},
    ]
    assert plain["options"] == {"temperature": 0.5, "num_predict": 40000}
    assert plain["stream"] is True
    assert through(CHAT_OF[source], target, request_of(source, "plain", stream=False)).request()["stream"] is False

    tools = through(CHAT_OF[source], target, request_of(source, "tools", stream=False)).request()
    assert tools["tools"][0]["function"]["parameters"] == SCHEMA
    call, result = tools["messages"][2:]
    assert call["tool_calls"][0]["function"]["arguments"] == ARGUMENTS
    assert (result["role"], result["tool_name"], result["content"]) == ("tool", "weather", "rain")

    picture = through(CHAT_OF[source], target, request_of(source, "images", stream=False)).request()
    assert picture["messages"][1]["images"] == [PNG]
    assert through(CHAT_OF[source], target, request_of(source, "json", stream=False)).request()["format"] == SCHEMA
    think = through(CHAT_OF[source], target, request_of(source, "reasoning", stream=False)).request()["think"]
    assert think == ("low" if source is Dialect.OPENAI else True)


REQUEST_TYPES: dict[Dialect, pydantic.TypeAdapter[Any]] = {
    Dialect.OPENAI: pydantic.TypeAdapter(openai_params.CompletionCreateParams),
    Dialect.ANTHROPIC: pydantic.TypeAdapter(anthropic_params.MessageCreateParams),
    Dialect.OLLAMA: pydantic.TypeAdapter(ChatRequest),
}


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_request_is_one_that_the_targets_client_could_send(source: Dialect, target: Dialect, feature: str) -> None:
    for stream in (False, True):
        out = through(CHAT_OF[source], target, request_of(source, feature, stream)).request()
        read = REQUEST_TYPES[target].validate_python(out)
        if target is not Dialect.OLLAMA:
            assert len(list(read["messages"])) == len(out["messages"])  # iterables are validated as they are walked
            assert len(list(read.get("tools", ()))) == len(out.get("tools", ()))
