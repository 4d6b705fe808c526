"""The official OpenAI client, unmodified, against a node of every kind."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
from live_fleet import LiveFleet
from openai import AsyncOpenAI, BadRequestError, OpenAI
from pydantic import BaseModel

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # a PNG file
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
def openai(fleet: LiveFleet) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{fleet.url}/v1", api_key=fleet.key) as client:
        yield client


@pytest.fixture
async def async_openai(fleet: LiveFleet) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{fleet.url}/v1", api_key=fleet.key) as client:
        yield client


def test_a_chat_is_answered_with_text_finish_and_usage(openai: OpenAI, model: str, kind: str) -> None:
    answer = openai.chat.completions.create(model=model, messages=said("Hello there"), max_tokens=16)
    choice = answer.choices[0]
    assert answer.object == "chat.completion"
    assert answer.model == model
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    if kind != "llamacpp":
        assert choice.message.content == "echo: Hello there"


def test_a_stream_brings_the_same_text_in_pieces(openai: OpenAI, model: str) -> None:
    request: dict[str, Any] = {
        "model": model,
        "messages": said("say 8 words"),
        "max_tokens": 8,
        "temperature": 0,
        "seed": 3,
    }
    whole = openai.chat.completions.create(**request).choices[0]
    chunks = list(openai.chat.completions.create(**request, stream=True))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 3
    assert "".join(pieces) == whole.message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == whole.finish_reason
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)  # it was not asked for


def test_usage_ends_a_stream_that_asked_for_it(openai: OpenAI, model: str) -> None:
    request: dict[str, Any] = {
        "model": model,
        "messages": said("say 5 words"),
        "max_tokens": 5,
        "temperature": 0,  # a real model ends where it likes, this way always at the same place
        "seed": 3,
    }
    whole = openai.chat.completions.create(**request).usage
    chunks = list(openai.chat.completions.create(**request, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert whole is not None
    assert chunks[-1].usage.completion_tokens == whole.completion_tokens
    assert 0 < whole.completion_tokens <= 5
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_tool_is_called_and_its_result_answered(openai: OpenAI, model: str, kind: str) -> None:
    messages = said("call a tool")
    first = openai.chat.completions.create(
        model=model, messages=messages, tools=[WEATHER], max_tokens=200, parallel_tool_calls=False
    )
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.id
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert arguments["city"] in ("Oslo", "Rome")
    assert arguments["days"] in (1, 2)
    messages += [
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny in the north"},
    ]
    second = openai.chat.completions.create(model=model, messages=messages, tools=[WEATHER], max_tokens=16)
    assert second.choices[0].message.content
    if kind != "llamacpp":
        assert second.choices[0].message.content == "echo: sunny in the north"


def test_tool_calls_are_streamed(openai: OpenAI, model: str) -> None:
    with openai.chat.completions.stream(
        model=model, messages=said("call a tool"), tools=[WEATHER], max_tokens=200, parallel_tool_calls=False
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion().choices[0]
    assert "tool_calls.function.arguments.done" in kinds
    assert final.finish_reason == "tool_calls"
    assert final.message.tool_calls is not None
    (call,) = final.message.tool_calls
    assert call.id
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments).keys() == {"city", "days"}


def test_parallel_tool_calls_keep_their_own_ids(openai: OpenAI, kind: str, model: str) -> None:
    if kind == "llamacpp":
        model = "gpt-fake"  # the tiny model makes one call only
    other: Any = {"type": "function", "function": {**WEATHER["function"], "name": "get_tides"}}
    with openai.chat.completions.stream(
        model=model, messages=said("call all tools"), tools=[WEATHER, other], max_tokens=200
    ) as stream:
        final = stream.get_final_completion().choices[0].message
    assert final.tool_calls is not None
    assert [call.function.name for call in final.tool_calls] == ["get_weather", "get_tides"]
    assert len({call.id for call in final.tool_calls}) == 2


def test_an_answer_fits_a_json_schema(openai: OpenAI, model: str) -> None:
    parsed = openai.chat.completions.parse(model=model, messages=said("Who?"), response_format=Person, max_tokens=200)
    assert isinstance(parsed.choices[0].message.parsed, Person)


def test_json_mode_gives_an_object(openai: OpenAI, model: str, kind: str) -> None:
    answer = openai.chat.completions.create(
        model=model,
        messages=said("Who? in JSON"),
        response_format={"type": "json_object"},
        max_tokens=400,
        seed=5,
    )
    text = answer.choices[0].message.content or ""
    if kind == "llamacpp":
        assert text.lstrip().startswith("{")  # random weights may not come to the closing bracket
    else:
        assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize("name", ["llama3", "gpt-fake", "claude-fake"])
def test_an_image_reaches_the_node(openai: OpenAI, name: str) -> None:
    content: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    answer = openai.chat.completions.create(
        model=name,
        messages=[{"role": "user", "content": content}],
    )
    text = answer.choices[0].message.content or ""
    assert f"[image {len(base64.b64decode(PIXEL))} bytes]" in text


def test_a_text_model_of_the_real_engine_refuses_an_image(openai: OpenAI) -> None:
    content: Any = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]
    with pytest.raises(BadRequestError, match="image"):
        openai.with_options(max_retries=0).chat.completions.create(
            model="tiny-a",
            messages=[{"role": "user", "content": content}],
        )


@pytest.mark.parametrize("name", ["llama3", "gpt-fake", "claude-fake"])
def test_reasoning_comes_apart_from_the_answer(openai: OpenAI, name: str) -> None:
    request: dict[str, Any] = {"model": name, "messages": said("think first"), "reasoning_effort": "medium"}
    message = openai.chat.completions.create(**request).choices[0].message
    thought = (message.model_extra or {})["reasoning_content"]
    assert thought == "I think about it before I answer."
    assert message.content == "echo: think first"
    deltas = [chunk.choices[0].delta for chunk in openai.chat.completions.create(**request, stream=True)]
    assert "".join((delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas) == thought
    assert "".join(delta.content or "" for delta in deltas) == message.content


def test_completions_are_whole_and_streamed(openai: OpenAI, model: str) -> None:
    request: dict[str, Any] = {
        "model": model,
        "prompt": "say 6 words",
        "max_tokens": 6,
        "temperature": 0,
        "seed": 4,
    }
    whole = openai.completions.create(**request)
    assert whole.object == "text_completion"
    assert whole.choices[0].text
    assert whole.usage is not None
    assert 0 < whole.usage.completion_tokens <= 6
    pieces = [chunk.choices[0].text for chunk in openai.completions.create(**request, stream=True)]
    assert len([piece for piece in pieces if piece]) > 2
    assert "".join(pieces) == whole.choices[0].text


@pytest.mark.parametrize("name", ["tiny-a", "nomic-embed-text", "text-embedding-fake"])
def test_embeddings_are_the_same_as_numbers_and_as_base64(openai: OpenAI, name: str) -> None:
    inputs = ["one fish", "two fish"]
    # The client asks for base64 by itself and decodes it.
    packed = openai.embeddings.create(model=name, input=inputs)
    plain = openai.embeddings.create(model=name, input=inputs, encoding_format="float")
    assert [row.index for row in packed.data] == [0, 1]
    assert plain.usage.prompt_tokens > 0
    for one, other in zip(packed.data, plain.data, strict=True):
        assert len(other.embedding) == 64
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    raw = openai.embeddings.create(model=name, input="one fish", encoding_format="base64").data[0].embedding
    assert isinstance(raw, str)
    assert struct.unpack("<64f", base64.b64decode(raw)) == pytest.approx(plain.data[0].embedding, abs=1e-6)


def test_a_node_that_has_no_embeddings_refuses_them(openai: OpenAI) -> None:
    with pytest.raises(BadRequestError):
        openai.embeddings.create(model="claude-fake", input="one fish")


def test_the_responses_api_answers(openai: OpenAI, model: str, kind: str) -> None:
    answer = openai.responses.create(model=model, input="Hello there", instructions="Be brief.", max_output_tokens=16)
    assert answer.status in ("completed", "incomplete")
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0
    if kind != "llamacpp":
        assert answer.output_text == "echo: Hello there"


def test_the_responses_api_streams_typed_events(openai: OpenAI, model: str) -> None:
    events = list(
        openai.responses.create(model=model, input="say 8 words", max_output_tokens=8, temperature=0, stream=True)
    )
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] in ("response.completed", "response.incomplete")
    assert kinds.count("response.output_text.delta") > 2
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = events[-1]
    assert final.type in ("response.completed", "response.incomplete")
    assert final.response.output_text == text


def test_the_responses_api_calls_functions(openai: OpenAI, model: str) -> None:
    tool: Any = {"type": "function", "strict": False, **WEATHER["function"]}
    answer = openai.responses.create(
        model=model,
        input="call a tool",
        tools=[tool],
        parallel_tool_calls=False,
        max_output_tokens=200,
    )
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["get_weather"]
    assert json.loads(calls[0].arguments).keys() == {"city", "days"}


def test_models_are_listed_and_found(openai: OpenAI) -> None:
    models = {model.id: model for model in openai.models.list()}
    expected = {"tiny-a", "tiny-b", "llama3:latest", "nomic-embed-text:latest", "gpt-fake", "claude-fake"}
    assert expected <= models.keys()
    assert all(model.created < 4_000_000_000 for model in models.values())  # seconds, not milliseconds
    assert models["tiny-a"].created > 1_600_000_000
    assert all(model.owned_by for model in models.values())
    assert openai.models.retrieve("tiny-a").id == "tiny-a"
    assert openai.models.retrieve("llama3").id in ("llama3", "llama3:latest")
    assert openai.models.retrieve("alias/with-slash").object == "model"


def test_sampling_parameters_arrive_unchanged(fleet: LiveFleet, openai: OpenAI) -> None:
    sampling: dict[str, Any] = {
        "temperature": 0.123456789,
        "top_p": 0.87,
        "presence_penalty": 0.25,
        "frequency_penalty": -0.5,
        "seed": 1234567890123,
        "stop": ["END", "\n\n"],
        "max_completion_tokens": 33,
    }
    openai_only: dict[str, Any] = {"n": 1, "logit_bias": {"5": -100}, "user": "someone", "logprobs": True}
    extra = {"min_p": 0.05, "guided_choice": ["a", "b"]}  # words of vLLM that the client does not know
    openai.chat.completions.create(
        model="gpt-fake", messages=said("Hello"), extra_body=extra, **sampling, **openai_only
    )
    received = fleet.fake("openai").last("/v1/chat/completions").body
    assert received == {"model": "gpt-fake", "messages": said("Hello"), **sampling, **openai_only, **extra}

    openai.chat.completions.create(model="llama3", messages=said("Hello"), **sampling)
    options = fleet.fake("ollama").last("/api/chat").body["options"]
    renamed = {**sampling, "num_predict": sampling["max_completion_tokens"]}
    del renamed["max_completion_tokens"]
    assert options == renamed

    openai.chat.completions.create(model="claude-fake", messages=said("Hello"), **sampling)
    received = fleet.fake("anthropic").last("/v1/messages").body
    assert received["temperature"] == sampling["temperature"]
    assert received["top_p"] == sampling["top_p"]
    assert received["stop_sequences"] == sampling["stop"]
    assert received["max_tokens"] == 33


def test_the_clients_key_stays_here_and_the_nodes_key_goes_out(fleet: LiveFleet, openai: OpenAI) -> None:
    openai.chat.completions.create(model="gpt-fake", messages=said("Hello"))
    headers = fleet.fake("openai").last("/v1/chat/completions").headers
    assert headers["authorization"] == "Bearer test-upstream-key"
    assert fleet.key not in json.dumps(headers)


async def test_the_async_client_does_it_all_at_once(async_openai: AsyncOpenAI, model: str) -> None:
    import asyncio

    async def chat(number: int) -> str:
        stream = await async_openai.chat.completions.create(
            model=model, messages=said(f"say {number} words"), max_tokens=number, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    texts = await asyncio.gather(*(chat(number) for number in range(4, 12)))
    assert all(texts)
    answer = await async_openai.chat.completions.create(model=model, messages=said("Hello"), max_tokens=4)
    assert answer.choices[0].message.content


def test_the_real_engine_repeats_itself_with_a_seed(openai: OpenAI) -> None:
    def text(seed: int, model: str = "tiny-a") -> str:
        answer = openai.chat.completions.create(
            model=model,
            messages=said("Tell me"),
            seed=seed,
            temperature=1.0,
            max_tokens=24,
            extra_body={"cache_prompt": False},  # what is taken from the cache is rounded another way
        )
        return answer.choices[0].message.content or ""

    assert text(11) == text(11)
    assert text(11) == text(11, "tiny-b")  # the same weights on the other node
    assert text(11) != text(12)
    assert text(11, "tiny") == text(11)  # the alias


def test_the_real_engine_stops_at_a_stop_text(openai: OpenAI) -> None:
    request: dict[str, Any] = {
        "model": "tiny-a",
        "messages": said("Tell me"),
        "seed": 11,
        "temperature": 0,
        "max_tokens": 24,
    }
    whole = openai.chat.completions.create(**request).choices[0].message.content or ""
    stop = whole[len(whole) // 2 :][:3]
    cut = openai.chat.completions.create(**request, stop=stop).choices[0]
    assert cut.message.content == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"
