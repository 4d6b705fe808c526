"""Streams arrive while the node is still speaking, and a client that leaves stops the node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from live_fleet import LiveFleet
from ollama import AsyncClient, Client
from openai import AsyncOpenAI, OpenAI

FAKE_MODELS = {"ollama": "llama3", "openai": "gpt-fake", "anthropic": "claude-fake"}
WORDS = "one two three four five six"
SAID: Any = [{"role": "user", "content": WORDS}]
# Opens a stream of a model; the pieces of its text.
Open = Callable[[str], Iterator[str]]


@pytest.fixture(params=list(FAKE_MODELS))
def speaker(request: pytest.FixtureRequest) -> str:
    """The kind of the node that speaks."""
    return str(request.param)


def openai_chat(client: OpenAI, model: str) -> Iterator[str]:
    with client.chat.completions.create(model=model, messages=SAID, stream=True) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


def openai_responses(client: OpenAI, model: str) -> Iterator[str]:
    with client.responses.create(model=model, input=WORDS, stream=True) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                yield event.delta


def openai_completions(client: OpenAI, model: str) -> Iterator[str]:
    with client.completions.create(model=model, prompt=WORDS, stream=True) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].text:
                yield chunk.choices[0].text


def anthropic_messages(client: Anthropic, model: str) -> Iterator[str]:
    with client.messages.stream(model=model, max_tokens=64, messages=SAID) as stream:
        yield from stream.text_stream


def ollama_chat(client: Client, model: str) -> Iterator[str]:
    for part in client.chat(model, messages=SAID, stream=True):
        if part.message.content:
            yield part.message.content


def ollama_generate(client: Client, model: str) -> Iterator[str]:
    for part in client.generate(model, WORDS, stream=True):
        if part.response:
            yield part.response


@pytest.fixture(
    params=[
        openai_chat,
        openai_responses,
        openai_completions,
        anthropic_messages,
        ollama_chat,
        ollama_generate,
    ],
    ids=lambda call: call.__name__,
)
def open_stream(request: pytest.FixtureRequest, fleet: LiveFleet) -> Iterator[Open]:
    call = request.param
    client: Any
    if call.__name__.startswith("openai"):
        client = OpenAI(base_url=f"{fleet.url}/v1", api_key=fleet.key, max_retries=0)
    elif call.__name__.startswith("anthropic"):
        client = Anthropic(base_url=fleet.url, api_key=fleet.key, max_retries=0)
    else:
        client = Client(fleet.url, headers=fleet.bearer)
    with client:
        yield lambda model: call(client, model)


def test_pieces_arrive_while_the_node_still_speaks(fleet: LiveFleet, open_stream: Open, speaker: str) -> None:
    fake = fleet.fake(speaker)
    fake.mode("hang_mid", after=3)
    pieces = open_stream(FAKE_MODELS[speaker])
    early = [next(pieces), next(pieces)]
    assert "".join(early).strip() == "echo: one"
    fake.wait_for(lambda server: server.hanging == 1)  # it has said three words and waits
    assert fake.release() == 1
    assert "".join([*early, *pieces]) == f"echo: {WORDS}"


def test_a_client_that_leaves_stops_the_node_within_a_second(fleet: LiveFleet, open_stream: Open, speaker: str) -> None:
    fake = fleet.fake(speaker)
    fake.mode("hang_mid", after=3)
    pieces = open_stream(FAKE_MODELS[speaker])
    assert next(pieces)
    fake.wait_for(lambda server: server.hanging == 1)
    pieces.close()
    fake.wait_for(lambda server: server.disconnects == 1 and server.in_flight == 0, timeout=1.0)


async def first_of(pieces: AsyncIterator[Any]) -> Any:
    return await anext(pieces)


async def test_async_clients_that_leave_stop_the_node_within_a_second(fleet: LiveFleet, speaker: str) -> None:
    fake, model = fleet.fake(speaker), FAKE_MODELS[speaker]
    fake.mode("hang_mid", after=3)
    async with AsyncOpenAI(base_url=f"{fleet.url}/v1", api_key=fleet.key) as openai:
        stream = await openai.chat.completions.create(model=model, messages=SAID, stream=True)
        assert await first_of(aiter(stream))
        await stream.close()
        fake.wait_for(lambda server: server.disconnects == 1 and server.in_flight == 0, timeout=1.0)
    async with AsyncAnthropic(base_url=fleet.url, api_key=fleet.key) as anthropic:
        async with anthropic.messages.stream(model=model, max_tokens=64, messages=SAID) as messages:
            assert await first_of(aiter(messages.text_stream))
        fake.wait_for(lambda server: server.disconnects == 2 and server.in_flight == 0, timeout=1.0)
    async with AsyncClient(fleet.url, headers=fleet.bearer) as ollama:
        parts: Any = await ollama.chat(model, messages=SAID, stream=True)
        assert await first_of(parts)
        await parts.aclose()
        fake.wait_for(lambda server: server.disconnects == 3 and server.in_flight == 0, timeout=1.0)
