"""What goes wrong reaches each official client as the exception that the client has for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic as anthropic_client
import openai as openai_client
import pytest
from anthropic import Anthropic
from live_fleet import KEYS, LiveFleet
from ollama import Client, ResponseError
from openai import OpenAI

FAKE_MODELS = {"ollama": "llama3", "openai": "gpt-fake", "anthropic": "claude-fake"}
PATHS = {"ollama": "/api/chat", "openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
SAID: Any = [{"role": "user", "content": "Hello there"}]


@pytest.fixture
def openai(fleet: LiveFleet) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{fleet.url}/v1", api_key=fleet.key, max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic(fleet: LiveFleet) -> Iterator[Anthropic]:
    with Anthropic(base_url=fleet.url, api_key=fleet.key, max_retries=0) as client:
        yield client


@pytest.fixture
def ollama(fleet: LiveFleet) -> Iterator[Client]:
    with Client(fleet.url, headers=fleet.bearer) as client:
        yield client


@pytest.fixture(params=list(FAKE_MODELS))
def faulty(request: pytest.FixtureRequest) -> str:
    """The kind of the node that fails."""
    return str(request.param)


def test_an_unknown_model_is_not_found(openai: OpenAI, anthropic: Anthropic, ollama: Client) -> None:
    with pytest.raises(openai_client.NotFoundError, match="nope") as told:
        openai.chat.completions.create(model="nope", messages=SAID)
    assert told.value.code == "model_not_found"
    with pytest.raises(openai_client.NotFoundError, match="nope"):
        openai.models.retrieve("nope")
    with pytest.raises(anthropic_client.NotFoundError, match="nope"):
        anthropic.messages.create(model="nope", max_tokens=8, messages=SAID)
    with pytest.raises(ResponseError, match="nope") as refused:
        ollama.chat("nope", messages=SAID)
    assert refused.value.status_code == 404
    with pytest.raises(ResponseError, match="nope"):
        ollama.show("nope")


def test_a_stream_of_an_unknown_model_is_not_found(openai: OpenAI, anthropic: Anthropic, ollama: Client) -> None:
    with pytest.raises(openai_client.NotFoundError):
        openai.chat.completions.create(model="nope", messages=SAID, stream=True)
    with (
        pytest.raises(anthropic_client.NotFoundError),
        anthropic.messages.stream(model="nope", max_tokens=8, messages=SAID),
    ):
        pass
    with pytest.raises(ResponseError) as refused:
        list(ollama.chat("nope", messages=SAID, stream=True))
    assert refused.value.status_code == 404


def test_a_wrong_key_is_an_authentication_error(fleet: LiveFleet) -> None:
    with OpenAI(base_url=f"{fleet.url}/v1", api_key="wrong") as openai:
        with pytest.raises(openai_client.AuthenticationError):
            openai.chat.completions.create(model="llama3", messages=SAID)
        with pytest.raises(openai_client.AuthenticationError):
            openai.models.list()
    with Anthropic(base_url=fleet.url, api_key="wrong") as anthropic:
        with pytest.raises(anthropic_client.AuthenticationError):
            anthropic.messages.create(model="llama3", max_tokens=8, messages=SAID)
        with pytest.raises(anthropic_client.AuthenticationError):
            anthropic.models.list()
    with Client(fleet.url) as ollama:  # no key at all
        for attempt in (lambda: ollama.chat("llama3", messages=SAID), ollama.list, ollama.ps):
            with pytest.raises(ResponseError) as refused:
                attempt()
            assert refused.value.status_code == 401
    assert all(fake.requests(PATHS[kind]) == [] for kind, fake in fleet.fakes.items())


def test_a_key_for_some_models_is_refused_the_others(fleet: LiveFleet) -> None:
    key = KEYS["limited"]
    with OpenAI(base_url=f"{fleet.url}/v1", api_key=key) as openai:
        assert openai.chat.completions.create(model="llama3", messages=SAID).choices
        with pytest.raises(openai_client.PermissionDeniedError):
            openai.chat.completions.create(model="gpt-fake", messages=SAID)
        assert {model.id for model in openai.models.list()} == {"llama3:latest", "alias/with-slash"}
    with (
        Anthropic(base_url=fleet.url, api_key=key) as anthropic,
        pytest.raises(anthropic_client.PermissionDeniedError),
    ):
        anthropic.messages.create(model="gpt-fake", max_tokens=8, messages=SAID)
    with Client(fleet.url, headers={"Authorization": f"Bearer {key}"}) as ollama:
        assert {entry.model for entry in ollama.list().models} == {"llama3:latest", "alias/with-slash"}


def test_an_incomplete_request_is_a_bad_request(openai: OpenAI, anthropic: Anthropic) -> None:
    with pytest.raises(openai_client.BadRequestError) as told:
        openai.post("/chat/completions", body={"model": "llama3"}, cast_to=object)
    assert told.value.code == "missing_required_parameter"
    assert told.value.param == "messages"
    with pytest.raises(openai_client.BadRequestError) as told:
        openai.post("/embeddings", body={"model": "nomic-embed-text"}, cast_to=object)
    assert told.value.param == "input"
    with pytest.raises(anthropic_client.BadRequestError, match="messages"):
        anthropic.post("/v1/messages", body={"model": "llama3", "max_tokens": 8}, cast_to=object)


def test_a_nodes_refusal_reaches_the_client_once_and_as_it_is(
    fleet: LiveFleet, openai: OpenAI, anthropic: Anthropic, ollama: Client, faulty: str
) -> None:
    fake, model, path = fleet.fake(faulty), FAKE_MODELS[faulty], PATHS[faulty]
    expected: dict[int, tuple[type[Exception], type[Exception]]] = {
        400: (openai_client.BadRequestError, anthropic_client.BadRequestError),
        404: (openai_client.NotFoundError, anthropic_client.NotFoundError),
        413: (openai_client.APIStatusError, anthropic_client.RequestTooLargeError),
        422: (openai_client.UnprocessableEntityError, anthropic_client.UnprocessableEntityError),
    }
    for status, (of_openai, of_anthropic) in expected.items():
        before = len(fake.requests(path))
        fake.mode("status", status=status, message="not in this house")
        with pytest.raises(of_openai, match="not in this house"):
            openai.chat.completions.create(model=model, messages=SAID)
        with pytest.raises(of_anthropic, match="not in this house"):
            anthropic.messages.create(model=model, max_tokens=8, messages=SAID)
        with pytest.raises(ResponseError, match="not in this house") as refused:
            ollama.chat(model, messages=SAID)
        assert refused.value.status_code == status
        assert len(fake.requests(path)) - before == 3


def test_a_keys_limit_is_a_rate_limit_error(fleet: LiveFleet) -> None:
    key = KEYS["slow"]  # two requests a minute
    with OpenAI(base_url=f"{fleet.url}/v1", api_key=key, max_retries=0) as openai:
        for _ in range(2):
            openai.chat.completions.create(model="llama3", messages=SAID)
        with pytest.raises(openai_client.RateLimitError) as limited:
            openai.chat.completions.create(model="llama3", messages=SAID)
        assert 1 <= int(limited.value.response.headers["retry-after"]) <= 60
        assert limited.value.code == "rate_limit_exceeded"
    with (
        Anthropic(base_url=fleet.url, api_key=key, max_retries=0) as anthropic,
        pytest.raises(anthropic_client.RateLimitError),
    ):
        anthropic.messages.create(model="llama3", max_tokens=8, messages=SAID)
    with Client(fleet.url, headers={"Authorization": f"Bearer {key}"}) as ollama:
        with pytest.raises(ResponseError) as refused:
            ollama.chat("llama3", messages=SAID)
        assert refused.value.status_code == 429


def test_a_nodes_limit_tells_when_to_come_again(
    fleet: LiveFleet, openai: OpenAI, anthropic: Anthropic, ollama: Client, faulty: str
) -> None:
    model = FAKE_MODELS[faulty]
    fleet.fake(faulty).mode("status", status=429, headers={"retry-after": "30"})
    with pytest.raises(openai_client.APIStatusError) as limited:
        openai.chat.completions.create(model=model, messages=SAID)
    assert int(limited.value.response.headers["retry-after"]) in (30, 31)
    with pytest.raises(anthropic_client.APIStatusError) as later:
        anthropic.messages.create(model=model, max_tokens=8, messages=SAID)
    assert int(later.value.response.headers["retry-after"]) in (30, 31)
    with pytest.raises(ResponseError, match="429"):
        ollama.chat(model, messages=SAID)


def test_a_broken_node_is_an_internal_server_error(
    fleet: LiveFleet, openai: OpenAI, anthropic: Anthropic, ollama: Client, faulty: str
) -> None:
    model = FAKE_MODELS[faulty]
    fleet.fake(faulty).mode("status", status=500, message="out of paper")
    with pytest.raises(openai_client.InternalServerError, match="out of paper"):
        openai.chat.completions.create(model=model, messages=SAID)
    with pytest.raises(anthropic_client.InternalServerError, match="out of paper"):
        anthropic.messages.create(model=model, max_tokens=8, messages=SAID)
    with pytest.raises(ResponseError, match="out of paper") as refused:
        ollama.chat(model, messages=SAID)
    assert refused.value.status_code == 502


@pytest.mark.parametrize("fault", ["status", "reset", "close", "malformed", "error_body_200"])
def test_a_fault_that_passes_is_not_seen(fleet: LiveFleet, openai: OpenAI, faulty: str, fault: str) -> None:
    fleet.fake(faulty).mode(fault, times=1)
    answer = openai.chat.completions.create(model=FAKE_MODELS[faulty], messages=SAID)
    assert answer.choices[0].message.content == "echo: Hello there"


@pytest.mark.parametrize("fault", ["cut", "half_close", "eof", "malformed", "sse_error_midway"])
def test_a_broken_stream_raises_and_never_ends_well(
    fleet: LiveFleet, openai: OpenAI, anthropic: Anthropic, ollama: Client, faulty: str, fault: str
) -> None:
    fleet.fake(faulty).mode(fault, after=2)
    model = FAKE_MODELS[faulty]
    # Bytes of a node of the client's own dialect are relayed as they are, so broken JSON is the client's to find.
    broken: tuple[type[Exception], ...] = (openai_client.APIError, anthropic_client.APIError, ResponseError)
    if fault == "malformed":
        broken = (*broken, ValueError)
    chunks: list[Any] = []
    with pytest.raises(broken):
        chunks.extend(openai.chat.completions.create(model=model, messages=SAID, stream=True))
    assert not any(choice.finish_reason for chunk in chunks for choice in chunk.choices)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert "echo: Hello there".startswith(text)
    with (
        pytest.raises(broken),
        anthropic.messages.stream(model=model, max_tokens=8, messages=SAID) as stream,
    ):
        stream.until_done()
    parts: list[Any] = []
    with pytest.raises(broken):
        parts.extend(ollama.chat(model, messages=SAID, stream=True))
    assert not any(part.done for part in parts)


def test_a_client_that_gives_up_frees_the_node(
    fleet: LiveFleet, openai: OpenAI, anthropic: Anthropic, faulty: str
) -> None:
    fake, model = fleet.fake(faulty), FAKE_MODELS[faulty]
    openai.chat.completions.create(model=model, messages=SAID)  # in memory: a load would go on without its client
    fake.mode("hang")
    with pytest.raises(openai_client.APITimeoutError):
        openai.with_options(timeout=0.3).chat.completions.create(model=model, messages=SAID)
    fake.wait_for(lambda server: server.disconnects == 1 and server.in_flight == 0, timeout=1.0)
    with pytest.raises(anthropic_client.APITimeoutError):
        anthropic.with_options(timeout=0.3).messages.create(model=model, max_tokens=8, messages=SAID)
    fake.wait_for(lambda server: server.disconnects == 2 and server.in_flight == 0, timeout=1.0)


def test_a_deadline_of_the_clients_own_ends_the_request(
    fleet: LiveFleet, openai: OpenAI, anthropic: Anthropic, faulty: str
) -> None:
    fake, model = fleet.fake(faulty), FAKE_MODELS[faulty]
    fake.mode("hang")
    wish = {"X-Request-Timeout": "300"}
    with pytest.raises(openai_client.InternalServerError) as late:
        openai.chat.completions.create(model=model, messages=SAID, extra_headers=wish)
    assert late.value.status_code == 504
    with pytest.raises(anthropic_client.APIStatusError) as later:
        anthropic.messages.create(model=model, max_tokens=8, messages=SAID, extra_headers=wish)
    assert later.value.status_code == 504
    fake.wait_for(lambda server: server.in_flight == 0, timeout=1.0)


def test_a_nodes_refusal_of_its_own_key_does_not_look_like_the_clients(fleet: LiveFleet, openai: OpenAI) -> None:
    fleet.fake("openai").mode("status", status=401)
    with pytest.raises(openai_client.InternalServerError):
        openai.chat.completions.create(model="gpt-fake", messages=SAID)
