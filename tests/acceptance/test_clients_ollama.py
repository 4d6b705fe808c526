"""The official Ollama client, unmodified, against a node of every kind."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
from live_fleet import LiveFleet
from ollama import AsyncClient, Client, ResponseError
from pydantic import BaseModel

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # a PNG file
)
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"enum": [1, 2]}},
            "required": ["city", "days"],
        },
    },
}


class Person(BaseModel):
    name: Literal["Ada", "Alan"]
    age: Literal[36, 41]


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture
def ollama(fleet: LiveFleet) -> Iterator[Client]:
    with Client(fleet.url, headers=fleet.bearer) as client:
        yield client


@pytest.fixture
async def async_ollama(fleet: LiveFleet) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(fleet.url, headers=fleet.bearer) as client:
        yield client


def test_a_chat_is_answered_with_text_reason_and_counts(ollama: Client, model: str, kind: str) -> None:
    answer = ollama.chat(model, messages=said("Hello there"), options={"num_predict": 16})
    assert answer.model == model
    assert answer.message.role == "assistant"
    assert answer.message.content
    assert answer.done is True
    assert answer.done_reason in ("stop", "length")
    assert answer.created_at
    assert answer.prompt_eval_count
    assert answer.eval_count
    assert answer.total_duration
    if kind != "llamacpp":
        assert answer.message.content == "echo: Hello there"


def test_a_stream_brings_the_same_text_in_pieces(ollama: Client, model: str) -> None:
    options = {"num_predict": 8, "temperature": 0, "seed": 3}
    whole = ollama.chat(model, messages=said("say 8 words"), options=options)
    parts = list(ollama.chat(model, messages=said("say 8 words"), options=options, stream=True))
    pieces = [part.message.content for part in parts if part.message.content]
    assert len(pieces) > 3
    assert "".join(pieces) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].done_reason == whole.done_reason
    assert parts[-1].eval_count == whole.eval_count


def test_generate_is_whole_and_streamed(ollama: Client, model: str) -> None:
    request: dict[str, Any] = {
        "model": model,
        "prompt": "Tell me, say 6 words",
        "options": {"num_predict": 6, "seed": 11},
    }
    whole = ollama.generate(**request)
    assert whole.response
    assert whole.done is True
    parts = list(ollama.generate(**request, stream=True))
    assert len([part for part in parts if part.response]) > 2
    assert "".join(part.response or "" for part in parts) == whole.response


def test_a_tool_is_called_and_its_result_answered(ollama: Client, model: str, kind: str) -> None:
    messages = said("call a tool")
    options = {"num_predict": 200, "seed": 1}
    first = ollama.chat(model, messages=messages, tools=[WEATHER], options=options).message
    assert first.tool_calls
    call = first.tool_calls[0].function
    assert call.name == "get_weather"
    assert call.arguments["city"] in ("Oslo", "Rome")
    assert call.arguments["days"] in (1, 2)
    messages += [first, {"role": "tool", "tool_name": call.name, "content": "sunny in the north"}]
    second = ollama.chat(model, messages=messages, tools=[WEATHER], options={"num_predict": 16}).message
    assert second.content
    if kind != "llamacpp":
        assert second.content == "echo: sunny in the north"


def test_tool_calls_are_streamed(ollama: Client, model: str) -> None:
    options = {"num_predict": 200, "seed": 1}
    parts = list(ollama.chat(model, messages=said("call a tool"), tools=[WEATHER], options=options, stream=True))
    calls = [call.function for part in parts for call in part.message.tool_calls or []]
    assert calls[0].name == "get_weather"
    assert calls[0].arguments.keys() == {"city", "days"}
    assert parts[-1].done is True


def test_a_tool_call_that_the_limit_cuts_is_no_error(ollama: Client) -> None:
    request: dict[str, Any] = {
        "model": "tiny-a",
        "messages": said("call a tool"),
        "tools": [WEATHER],
        "options": {"num_predict": 12},
    }
    whole = ollama.chat(**request)
    assert whole.done_reason == "length"
    assert not whole.message.tool_calls
    parts = list(ollama.chat(**request, stream=True))
    assert parts[-1].done_reason == "length"
    assert not any(part.message.tool_calls for part in parts)


def test_a_python_function_is_a_tool(ollama: Client, model: str) -> None:
    def get_tides(tomorrow: bool) -> str:
        """Get the tides.

        Args:
            tomorrow: Whether of tomorrow, not of today
        """
        return f"high {tomorrow}"

    answer = ollama.chat(
        model, messages=said("call a tool"), tools=[get_tides], options={"num_predict": 400, "seed": 1}
    )
    assert answer.message.tool_calls
    assert answer.message.tool_calls[0].function.name == "get_tides"


def test_an_answer_fits_a_json_schema(ollama: Client, model: str) -> None:
    options = {"num_predict": 200, "seed": 5}
    schema = Person.model_json_schema()
    answer = ollama.chat(model, messages=said("Who?"), format=schema, options=options)
    assert Person.model_validate_json(answer.message.content or "")
    generated = ollama.generate(model, "Who?", format=schema, options=options)
    assert Person.model_validate_json(generated.response or "")


@pytest.mark.parametrize("name", ["llama3", "gpt-fake", "claude-fake"])
def test_an_image_reaches_the_node(ollama: Client, name: str) -> None:
    message = {"role": "user", "content": "What is this?", "images": [PIXEL]}
    expected = f"[image {len(PIXEL)} bytes]"
    assert expected in (ollama.chat(name, messages=[message]).message.content or "")
    assert expected in (ollama.generate(name, "What is this?", images=[PIXEL]).response or "")


@pytest.mark.parametrize("name", ["llama3", "gpt-fake", "claude-fake"])
def test_thinking_comes_apart_from_the_answer(ollama: Client, name: str) -> None:
    message = ollama.chat(name, messages=said("think first"), think=True).message
    assert message.thinking == "I think about it before I answer."
    assert message.content == "echo: think first"
    parts = list(ollama.chat(name, messages=said("think first"), think=True, stream=True))
    assert "".join(part.message.thinking or "" for part in parts) == message.thinking
    assert "".join(part.message.content or "" for part in parts) == message.content


@pytest.mark.parametrize("name", ["tiny-a", "nomic-embed-text", "text-embedding-fake"])
def test_embeddings_come_for_one_and_for_many(ollama: Client, name: str) -> None:
    many = ollama.embed(name, ["one fish", "two fish"])
    assert [len(vector) for vector in many.embeddings] == [64, 64]
    assert many.prompt_eval_count
    one = ollama.embed(name, "one fish").embeddings
    assert one[0] == pytest.approx(many.embeddings[0], abs=1e-5)
    old = ollama.embeddings(name, "one fish").embedding
    assert old == pytest.approx(many.embeddings[0], abs=1e-5)


def test_models_are_listed_and_shown(ollama: Client) -> None:
    listed = {entry.model: entry for entry in ollama.list().models}
    assert {"tiny-a", "tiny-b", "llama3:latest", "nomic-embed-text:latest", "gpt-fake", "claude-fake"} <= listed.keys()
    assert listed["llama3:latest"].size == 4_000_000_000
    assert listed["llama3:latest"].digest
    assert all(entry.modified_at is not None for entry in listed.values())
    shown = ollama.show("llama3")
    assert shown.details is not None
    assert shown.details.family == "llama"
    assert "completion" in (shown.capabilities or [])
    assert ollama.show("tiny-a").modelinfo is not None


def test_what_is_in_memory_is_listed_and_can_be_loaded_and_unloaded(fleet: LiveFleet, ollama: Client) -> None:
    def in_memory() -> set[str | None]:
        return {entry.model for entry in ollama.ps().models}

    assert fleet.fake("ollama").loaded() == []
    loaded = ollama.generate("llama3", "", keep_alive="10m")
    assert loaded.done_reason == "load"
    assert fleet.fake("ollama").loaded() == ["llama3:latest"]
    assert "llama3:latest" in in_memory()
    unloaded = ollama.chat("llama3", keep_alive=0)
    assert unloaded.done_reason == "unload"
    assert fleet.fake("ollama").loaded() == []
    assert "llama3:latest" not in in_memory()
    assert in_memory() >= {"tiny-a", "tiny-b"}  # the embedded engine keeps its model


def test_a_load_is_answered_by_a_node_that_has_nothing_to_load(ollama: Client, model: str) -> None:
    assert ollama.generate(model, "").done is True
    assert ollama.chat(model, []).done is True


def test_options_arrive_unchanged(fleet: LiveFleet, ollama: Client) -> None:
    options = {
        "temperature": 0.123456789,
        "top_p": 0.87,
        "top_k": 13,
        "min_p": 0.05,
        "seed": 1234567890123,
        "num_predict": 33,
        "num_ctx": 4096,
        "repeat_penalty": 1.05,
        "stop": ["END", "\n\n"],
    }
    ollama.chat("llama3", messages=said("Hello"), options=options, keep_alive="7m")
    received = fleet.fake("ollama").last("/api/chat").body
    assert received["options"] == options
    assert received["keep_alive"] == "7m"

    ollama.chat("gpt-fake", messages=said("Hello"), options=options)
    received = fleet.fake("openai").last("/v1/chat/completions").body
    for name in ("temperature", "top_p", "top_k", "min_p", "seed", "stop"):
        assert received[name] == options[name], name
    assert received["max_tokens"] == 33

    ollama.chat("claude-fake", messages=said("Hello"), options=options)
    received = fleet.fake("anthropic").last("/v1/messages").body
    assert {name: received[name] for name in ("temperature", "top_p", "top_k")} == {
        "temperature": 0.123456789,
        "top_p": 0.87,
        "top_k": 13,
    }
    assert received["stop_sequences"] == ["END", "\n\n"]


def test_changing_the_library_is_refused_by_default(ollama: Client) -> None:
    attempts = [
        lambda: ollama.pull("llama3"),
        lambda: ollama.push("llama3"),
        lambda: ollama.copy("llama3", "other"),
        lambda: ollama.delete("llama3"),
        lambda: ollama.create("other", from_="llama3"),
    ]
    for attempt in attempts:
        with pytest.raises(ResponseError) as raised:
            attempt()
        assert raised.value.status_code == 400


async def test_the_async_client_does_it_all_at_once(async_ollama: AsyncClient, model: str) -> None:
    async def chat(number: int) -> str:
        parts = await async_ollama.chat(
            model, messages=said(f"say {number} words"), options={"num_predict": number}, stream=True
        )
        return "".join([part.message.content or "" async for part in parts])

    assert all(await asyncio.gather(*(chat(number) for number in range(4, 12))))
    answer = await async_ollama.generate(model, "Hello", options={"num_predict": 4})
    assert answer.response
    assert (await async_ollama.list()).models


def test_the_real_engine_repeats_itself_with_a_seed(ollama: Client) -> None:
    def text(seed: int) -> str | None:
        return ollama.generate(
            "tiny-a", "Tell me", options={"seed": seed, "temperature": 1, "num_predict": 24}
        ).response

    assert text(11) == text(11)
    assert text(11) != text(12)
