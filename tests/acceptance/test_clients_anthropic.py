"""The official Anthropic client, unmodified, against a node of every kind."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
from anthropic import Anthropic, AsyncAnthropic, BadRequestError, transform_schema
from live_fleet import LiveFleet
from pydantic import BaseModel

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # a PNG file
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"enum": [1, 2]}},
        "required": ["city", "days"],
    },
}
ONE: Any = {"type": "auto", "disable_parallel_tool_use": True}
GREEDY = {"temperature": 0}  # the client no longer has a word for it; nodes still do


class Person(BaseModel):
    name: Literal["Ada", "Alan"]
    age: Literal[36, 41]


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture
def anthropic(fleet: LiveFleet) -> Iterator[Anthropic]:
    with Anthropic(base_url=fleet.url, api_key=fleet.key) as client:
        yield client


@pytest.fixture
async def async_anthropic(fleet: LiveFleet) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=fleet.url, api_key=fleet.key) as client:
        yield client


def test_a_message_is_answered_with_text_reason_and_usage(anthropic: Anthropic, model: str, kind: str) -> None:
    answer = anthropic.messages.create(model=model, max_tokens=16, system="Be brief.", messages=said("Hello there"))
    assert answer.type == "message"
    assert answer.role == "assistant"
    assert answer.model == model
    assert answer.id
    assert answer.stop_reason in ("end_turn", "max_tokens")
    (block,) = answer.content
    assert block.type == "text"
    assert block.text
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    if kind != "llamacpp":
        assert block.text == "echo: Hello there"


def test_a_stream_brings_the_same_text_in_pieces(anthropic: Anthropic, model: str) -> None:
    request: dict[str, Any] = {
        "model": model,
        "messages": said("say 8 words"),
        "max_tokens": 8,
        "extra_body": GREEDY,
    }
    whole = anthropic.messages.create(**request)
    with anthropic.messages.stream(**request) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 3
    assert whole.content[0].type == "text"
    assert "".join(pieces) == whole.content[0].text
    assert final.content[0].type == "text"
    assert final.content[0].text == whole.content[0].text
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_the_events_of_a_stream_come_in_anthropics_order(anthropic: Anthropic, model: str) -> None:
    stream = anthropic.messages.create(
        model=model, max_tokens=8, messages=said("say 8 words"), stream=True, extra_body=GREEDY
    )
    kinds = [event.type for event in stream]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert kinds.count("content_block_delta") > 2


def test_a_tool_is_used_and_its_result_answered(anthropic: Anthropic, model: str, kind: str) -> None:
    messages = said("call a tool")
    first = anthropic.messages.create(model=model, max_tokens=200, messages=messages, tools=[WEATHER], tool_choice=ONE)
    assert first.stop_reason == "tool_use"
    (use,) = [block for block in first.content if block.type == "tool_use"]
    assert use.id
    assert use.name == "get_weather"
    assert use.input["city"] in ("Oslo", "Rome")
    assert use.input["days"] in (1, 2)
    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "sunny in the north"}]}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = anthropic.messages.create(model=model, max_tokens=16, messages=messages, tools=[WEATHER])
    assert second.stop_reason in ("end_turn", "max_tokens")
    assert second.content[0].type == "text"
    if kind != "llamacpp":
        assert second.content[0].text == "echo: sunny in the north"


def test_tool_uses_are_streamed(anthropic: Anthropic, model: str) -> None:
    with anthropic.messages.stream(
        model=model, max_tokens=200, messages=said("call a tool"), tools=[WEATHER], tool_choice=ONE
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_message()
    assert "input_json" in kinds
    assert final.stop_reason == "tool_use"
    (use,) = [block for block in final.content if block.type == "tool_use"]
    assert use.id
    assert use.name == "get_weather"
    assert use.input.keys() == {"city", "days"}


def test_a_tool_use_that_the_limit_cuts_is_no_error(anthropic: Anthropic) -> None:
    request: dict[str, Any] = {
        "model": "tiny-a",
        "max_tokens": 12,
        "messages": said("call a tool"),
        "tools": [WEATHER],
        "tool_choice": ONE,
    }
    assert anthropic.messages.create(**request).stop_reason == "max_tokens"
    with anthropic.messages.stream(**request) as stream:
        assert stream.get_final_message().stop_reason == "max_tokens"


@pytest.mark.parametrize("name", ["llama3", "gpt-fake", "claude-fake"])
def test_parallel_tool_uses_keep_their_own_ids(anthropic: Anthropic, name: str) -> None:
    tides: Any = {**WEATHER, "name": "get_tides"}
    with anthropic.messages.stream(
        model=name, max_tokens=400, messages=said("call all tools"), tools=[WEATHER, tides]
    ) as stream:
        final = stream.get_final_message()
    uses = [block for block in final.content if block.type == "tool_use"]
    assert [use.name for use in uses] == ["get_weather", "get_tides"]
    assert len({use.id for use in uses}) == 2


def test_a_forced_tool_is_used(anthropic: Anthropic, model: str) -> None:
    answer = anthropic.messages.create(
        model=model,
        max_tokens=200,
        messages=said("call a tool"),
        tools=[WEATHER],
        tool_choice={"type": "tool", "name": "get_weather"},
    )
    assert [block.name for block in answer.content if block.type == "tool_use"] == ["get_weather"]


def test_an_answer_fits_a_json_schema(anthropic: Anthropic, model: str) -> None:
    answer = anthropic.messages.create(
        model=model,
        max_tokens=200,
        messages=said("Who?"),
        output_config={"format": {"type": "json_schema", "schema": transform_schema(Person)}},
    )
    block = answer.content[0]
    assert block.type == "text"
    assert Person.model_validate_json(block.text)


@pytest.mark.parametrize("name", ["llama3", "gpt-fake", "claude-fake"])
def test_an_image_reaches_the_node(anthropic: Anthropic, name: str) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    content: Any = [image, {"type": "text", "text": "What is this?"}]
    answer = anthropic.messages.create(model=name, max_tokens=64, messages=[{"role": "user", "content": content}])
    assert answer.content[0].type == "text"
    assert f"[image {len(base64.b64decode(PIXEL))} bytes]" in answer.content[0].text


@pytest.mark.parametrize("name", ["llama3", "gpt-fake", "claude-fake"])
def test_thinking_comes_apart_from_the_answer(anthropic: Anthropic, name: str) -> None:
    request: dict[str, Any] = {
        "model": name,
        "max_tokens": 4000,
        "messages": said("think first"),
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    }
    thought, text = anthropic.messages.create(**request).content
    assert thought.type == "thinking"
    assert thought.thinking == "I think about it before I answer."
    assert text.type == "text"
    assert text.text == "echo: think first"
    with anthropic.messages.stream(**request) as stream:
        final = stream.get_final_message().content
    assert [block.type for block in final] == ["thinking", "text"]
    assert final[0].type == "thinking"
    assert final[0].thinking == thought.thinking


def test_models_are_listed_and_found(anthropic: Anthropic) -> None:
    models = {model.id: model for model in anthropic.models.list()}
    assert {"tiny-a", "tiny-b", "llama3:latest", "gpt-fake", "claude-fake"} <= models.keys()
    assert all(model.type == "model" and model.display_name and model.created_at for model in models.values())
    assert anthropic.models.retrieve("tiny-a").type == "model"


def test_tokens_are_counted_where_the_node_can(anthropic: Anthropic) -> None:
    assert anthropic.messages.count_tokens(model="claude-fake", messages=said("one two three")).input_tokens == 3
    with pytest.raises(BadRequestError):
        anthropic.messages.count_tokens(model="llama3", messages=said("one two three"))


def test_sampling_parameters_arrive_unchanged(fleet: LiveFleet, anthropic: Anthropic) -> None:
    extra: dict[str, Any] = {"temperature": 0.123456789, "top_p": 0.87, "top_k": 13}
    own: dict[str, Any] = {"metadata": {"user_id": "someone"}, "service_tier": "auto"}
    common: dict[str, Any] = {"max_tokens": 77, "stop_sequences": ["END", "\n\n"]}
    request: dict[str, Any] = {"messages": said("Hello"), **common}
    anthropic.messages.create(model="claude-fake", extra_body=extra, **request, **own)
    received = fleet.fake("anthropic").last("/v1/messages")
    assert received.body == {"model": "claude-fake", **request, **own, **extra}
    assert received.headers["anthropic-version"] == anthropic.default_headers["anthropic-version"]
    assert received.headers["x-api-key"] == "test-upstream-key"

    anthropic.messages.create(model="llama3", extra_body=extra, **request)
    options = fleet.fake("ollama").last("/api/chat").body["options"]
    assert options == {"num_predict": 77, "stop": ["END", "\n\n"], **extra}

    anthropic.messages.create(model="gpt-fake", extra_body=extra, **request)
    body = fleet.fake("openai").last("/v1/chat/completions").body
    assert {name: body[name] for name in extra} == extra
    assert body["max_tokens"] == 77
    assert body["stop"] == ["END", "\n\n"]


def test_a_beta_header_reaches_the_node(fleet: LiveFleet, anthropic: Anthropic) -> None:
    anthropic.beta.messages.create(
        model="claude-fake", max_tokens=8, messages=said("Hello"), betas=["context-1m-2025-08-07"]
    )
    headers = fleet.fake("anthropic").last("/v1/messages").headers
    assert headers["anthropic-beta"] == "context-1m-2025-08-07"


async def test_the_async_client_does_it_all_at_once(async_anthropic: AsyncAnthropic, model: str) -> None:
    async def message(number: int) -> str:
        async with async_anthropic.messages.stream(
            model=model, max_tokens=number, messages=said(f"say {number} words")
        ) as stream:
            return "".join([piece async for piece in stream.text_stream])

    assert all(await asyncio.gather(*(message(number) for number in range(4, 12))))
    answer = await async_anthropic.messages.create(model=model, max_tokens=4, messages=said("Hello"))
    assert answer.content[0].type == "text"
