"""The real clients of each dialect, unmodified."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import ollama
import openai
import pytest

from orchestrator.testing.model_server import ModelServer

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("weather", "forecast")
]
ANTHROPIC_TOOLS: list[Any] = [{"name": "weather", "input_schema": SCHEMA}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def says(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture
async def gpt(server: ModelServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
async def claude(server: ModelServer) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
async def llama(server: ModelServer) -> AsyncIterator[ollama.AsyncClient]:
    client = ollama.AsyncClient(host=server.url)
    yield client
    await client.close()


async def test_openai_chat(gpt: openai.AsyncOpenAI) -> None:
    answer = await gpt.chat.completions.create(model="demo", messages=says("hello you"))

    assert answer.choices[0].message.content == "echo: hello you"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 3)


async def test_openai_stream_with_usage_and_limit(gpt: openai.AsyncOpenAI) -> None:
    stream = await gpt.chat.completions.create(
        model="demo",
        messages=says("say 50 words"),
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=20,
    )
    chunks = [chunk async for chunk in stream]

    words = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(words) == 20
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 20


async def test_openai_tools_streamed_in_pieces(gpt: openai.AsyncOpenAI) -> None:
    stream = await gpt.chat.completions.create(model="demo", messages=says("call all tools"), tools=TOOLS, stream=True)
    names: dict[int, str] = {}
    pieces: dict[int, list[str]] = {0: [], 1: []}
    finish = None
    async for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or []:
            assert call.function is not None
            if call.function.name:
                names[call.index] = call.function.name
            pieces[call.index].append(call.function.arguments or "")
        finish = chunk.choices[0].finish_reason

    assert (names, finish) == ({0: "weather", 1: "forecast"}, "tool_calls")
    assert all(len(parts) > 2 for parts in pieces.values())
    assert json.loads("".join(pieces[1])) == {"city": "call all tools", "days": 7}


async def test_openai_tool_choice_and_result(gpt: openai.AsyncOpenAI) -> None:
    named: Any = {"type": "function", "function": {"name": "forecast"}}
    forced = await gpt.chat.completions.create(model="demo", messages=says("x"), tools=TOOLS, tool_choice=named)
    refused = await gpt.chat.completions.create(
        model="demo", messages=says("call a tool"), tools=TOOLS, tool_choice="none"
    )
    calls = forced.choices[0].message.tool_calls
    assert calls
    history = [*says("x"), forced.choices[0].message, {"role": "tool", "tool_call_id": calls[0].id, "content": "sun"}]
    final = await gpt.chat.completions.create(model="demo", messages=history, tools=TOOLS)

    assert calls[0].type == "function"
    assert calls[0].function.name == "forecast"
    assert refused.choices[0].message.content == "echo: call a tool"
    assert final.choices[0].message.content == "echo: sun"


async def test_openai_json_schema_reasoning_image_and_stop(gpt: openai.AsyncOpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}}
    trip = await gpt.chat.completions.create(model="demo", messages=says("Rome"), response_format=form)
    thought = await gpt.chat.completions.create(model="demo", messages=says("think hard"))
    image: Any = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    seen = await gpt.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": [{"type": "text", "text": "look"}, image]}]
    )
    stopped = await gpt.chat.completions.create(model="demo", messages=says("one STOP two"), stop=["STOP"])

    assert json.loads(trip.choices[0].message.content or "") == {"city": "Rome", "days": 7}
    assert thought.choices[0].message.model_extra == {"reasoning_content": "I think about it before I answer."}
    assert seen.choices[0].message.content == "echo: look [image 70 bytes]"
    assert stopped.choices[0].message.content == "echo: one "


async def test_openai_embeddings_completions_and_models(gpt: openai.AsyncOpenAI) -> None:
    one = await gpt.embeddings.create(model="demo", input=["a", "b"])
    again = await gpt.embeddings.create(model="demo", input="a", dimensions=8, encoding_format="float")
    completion = await gpt.completions.create(model="demo", prompt=["x", "y"])
    stream = await gpt.completions.create(model="demo", prompt="x y", stream=True)
    text = "".join([chunk.choices[0].text async for chunk in stream])

    assert [len(item.embedding) for item in one.data] == [64, 64]
    assert one.data[0].embedding != one.data[1].embedding
    assert sum(x * x for x in again.data[0].embedding) == pytest.approx(1)
    assert [choice.text for choice in completion.choices] == ["echo: x", "echo: y"]
    assert text == "echo: x y"
    assert [model.id async for model in gpt.models.list()] == ["demo", "llama3:8b"]
    assert (await gpt.models.retrieve("llama3:8b")).id == "llama3:8b"
    with pytest.raises(openai.NotFoundError, match="nope"):
        await gpt.completions.create(model="nope", prompt="x")


async def test_openai_responses(gpt: openai.AsyncOpenAI) -> None:
    whole = await gpt.responses.create(model="demo", input="hi there", instructions="be brief")
    tool: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
    called = await gpt.responses.create(model="demo", input="call a tool", tools=[tool])
    stream = await gpt.responses.create(model="demo", input=says("hi there"), stream=True)
    events = [event async for event in stream]

    assert whole.output_text == "echo: hi there"
    assert whole.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (4, 3)
    assert called.output[0].type == "function_call"
    assert json.loads(called.output[0].arguments) == {"city": "call a tool", "days": 7}
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "echo: hi there"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"


async def test_anthropic_message_and_stream(claude: anthropic.AsyncAnthropic) -> None:
    whole = await claude.messages.create(model="demo", max_tokens=99, system="be brief", messages=says("hello you"))
    async with claude.messages.stream(model="demo", max_tokens=2, messages=says("hello you")) as stream:
        words = [word async for word in stream.text_stream]
        final = await stream.get_final_message()

    assert whole.content[0].type == "text"
    assert whole.content[0].text == "echo: hello you"
    assert (whole.usage.input_tokens, whole.usage.output_tokens, whole.stop_reason) == (4, 3, "end_turn")
    assert words == ["echo:", " hello"]
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 2)


async def test_anthropic_thinking_and_tools(claude: anthropic.AsyncAnthropic) -> None:
    async with claude.messages.stream(
        model="demo",
        max_tokens=2000,
        messages=says("call a tool"),
        tools=ANTHROPIC_TOOLS,
        thinking={"type": "enabled", "budget_tokens": 1024},
    ) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()

    assert [block.type for block in final.content] == ["thinking", "tool_use"]
    assert final.content[1].type == "tool_use"
    assert final.content[1].input == {"city": "call a tool", "days": 7}
    assert kinds.count("input_json") > 2
    assert final.stop_reason == "tool_use"


async def test_anthropic_the_rest(claude: anthropic.AsyncAnthropic) -> None:
    count = await claude.messages.count_tokens(model="demo", messages=says("a b c"))
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    seen = await claude.messages.create(
        model="demo", max_tokens=99, messages=[{"role": "user", "content": [{"type": "text", "text": "look"}, image]}]
    )
    stopped = await claude.messages.create(
        model="demo", max_tokens=99, messages=says("one STOP two"), stop_sequences=["STOP"]
    )
    result: Any = [{"type": "tool_result", "tool_use_id": "t", "content": "call a tool"}]
    after = await claude.messages.create(
        model="demo", max_tokens=99, messages=[{"role": "user", "content": result}], tools=ANTHROPIC_TOOLS
    )

    assert count.input_tokens == 3
    assert seen.content[0].type == "text"
    assert seen.content[0].text == "echo: look [image 70 bytes]"
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "STOP")
    assert after.stop_reason == "end_turn"
    assert [model.id async for model in claude.models.list()] == ["demo", "llama3:8b"]
    with pytest.raises(anthropic.NotFoundError, match="model: nope"):
        await claude.messages.create(model="nope", max_tokens=9, messages=says("x"))


async def test_ollama_chat_and_generate(llama: ollama.AsyncClient) -> None:
    whole = await llama.chat(model="demo", messages=says("hello you"))
    lines = [line async for line in await llama.chat(model="demo", messages=says("hello you"), stream=True)]
    short = await llama.generate(model="demo", prompt="a b c d", options={"num_predict": 2})
    shaped = await llama.generate(model="demo", prompt="Rome", format=SCHEMA)
    seen = await llama.generate(model="demo", prompt="look", images=[PIXEL])

    assert whole.message.content == "echo: hello you"
    assert (whole.prompt_eval_count, whole.eval_count, whole.done_reason) == (2, 3, "stop")
    assert "".join(line.message.content or "" for line in lines) == "echo: hello you"
    assert (lines[-1].done, lines[-1].eval_count) == (True, 3)
    assert (short.response, short.done_reason) == ("echo: a", "length")
    assert json.loads(shaped.response) == {"city": "Rome", "days": 7}
    assert seen.response == "echo: look [image 70 bytes]"


async def test_ollama_tools_and_thinking(llama: ollama.AsyncClient) -> None:
    called = await llama.chat(model="demo", messages=says("call a tool"), tools=TOOLS)
    thought = await llama.chat(model="demo", messages=says("hi"), think=True)
    not_thought = await llama.chat(model="demo", messages=says("think"), think=False)
    lines = [line async for line in await llama.chat(model="demo", messages=says("x think"), stream=True)]

    assert called.message.tool_calls is not None
    assert called.message.tool_calls[0].function.arguments == {"city": "call a tool", "days": 7}
    assert thought.message.thinking == "I think about it before I answer."
    assert not_thought.message.thinking is None
    assert "".join(line.message.thinking or "" for line in lines) == "I think about it before I answer."


async def test_ollama_embeddings(llama: ollama.AsyncClient) -> None:
    many = await llama.embed(model="demo", input=["a", "b"], dimensions=5)
    one = await llama.embeddings(model="demo", prompt="a")

    assert [len(vector) for vector in many.embeddings] == [5, 5]
    assert len(one.embedding) == 64


async def test_ollama_library(llama: ollama.AsyncClient, server: ModelServer) -> None:
    progress = [line async for line in await llama.pull("new:1b", stream=True)]
    pulled = await llama.pull("newer")
    await llama.copy("new:1b", "copied")
    created = await llama.create(model="mine", from_="demo")
    pushed = await llama.push("mine")
    await llama.delete("newer")
    shown = await llama.show("llama3:8b")

    assert [line.status for line in progress][-1] == "success"
    assert max(line.completed or 0 for line in progress) == 4_000_000_000
    assert pulled.status == created.status == pushed.status == "success"
    names = [model.model for model in (await llama.list()).models]
    assert names == ["demo:latest", "llama3:8b", "new:1b", "copied:latest", "mine:latest"]
    assert shown.capabilities is not None
    assert "tools" in shown.capabilities
    with pytest.raises(ollama.ResponseError, match="model 'gone' not found"):
        await llama.delete("gone")
    with pytest.raises(ollama.ResponseError) as refused:
        await llama.chat(model="gone", messages=says("x"))
    assert refused.value.status_code == 404


async def test_ollama_blobs(llama: ollama.AsyncClient, server: ModelServer, tmp_path: Any) -> None:
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"GGUF" * 1000)

    digest = await llama.create_blob(file)
    created = await llama.create(model="uploaded", files={"weights.gguf": digest})

    assert created.status == "success"
    assert [model.size for model in (await llama.list()).models if model.model == "uploaded:latest"] == [4000]
    with pytest.raises(ollama.ResponseError, match="not found"):
        await llama.create(model="x", files={"a": "sha256:00"})


async def test_one_dialect_only_and_a_required_key() -> None:
    async with ModelServer(dialects=["anthropic"], required_key="secret") as server:
        right = anthropic.AsyncAnthropic(base_url=server.url, api_key="secret", max_retries=0)
        wrong = anthropic.AsyncAnthropic(base_url=server.url, api_key="guess", max_retries=0)
        other = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)
        async with right, wrong, other:
            assert [model.id async for model in right.models.list()] == ["demo"]
            with pytest.raises(anthropic.AuthenticationError):
                await wrong.messages.create(model="demo", max_tokens=9, messages=says("x"))
            with pytest.raises(openai.NotFoundError):
                await other.chat.completions.create(model="demo", messages=says("x"))
