"""Embeddings between OpenAI's and Ollama's three endpoints."""

from __future__ import annotations

import ollama
import pytest
from dialect_clients import openai_client, strictly
from dialect_samples import through
from openai.types import CreateEmbeddingResponse

from orchestrator.domain.dialects import ENDPOINTS, Usage, usage_of
from orchestrator.domain.dialects.sink import dump
from orchestrator.domain.errors import InvalidRequest, MalformedAnswer
from orchestrator.domain.node import Dialect

OPENAI, EMBED, OLD = (ENDPOINTS[p] for p in ("/v1/embeddings", "/api/embed", "/api/embeddings"))
FROM_OLLAMA = {"model": "m", "embeddings": [[0.5, 1.0], [2.0, -3.0]], "prompt_eval_count": 6, "load_duration": 9}
FROM_OPENAI = {
    "object": "list",
    "model": "m",
    "data": [
        {"object": "embedding", "index": 1, "embedding": [2.0, -3.0]},
        {"object": "embedding", "index": 0, "embedding": [0.5, 1.0]},
    ],
    "usage": {"prompt_tokens": 6, "total_tokens": 6},
}


def test_openai_to_ollama_and_back() -> None:
    translation = through(OPENAI, Dialect.OLLAMA, {"model": "m", "input": ["a", "b"], "dimensions": 2, "user": "u"})
    assert translation.target is EMBED
    assert translation.request() == {"model": "m", "input": ["a", "b"], "dimensions": 2}
    assert translation.dropped == ("user",)
    answer = strictly(CreateEmbeddingResponse, translation.response(FROM_OLLAMA))
    assert [item.embedding for item in answer.data] == [[0.5, 1.0], [2.0, -3.0]]
    assert (answer.model, answer.usage.prompt_tokens) == ("alias", 6)


def test_the_real_client_asks_for_base64_and_decodes_it() -> None:
    body = {"model": "m", "input": "a", "encoding_format": "base64"}
    answer = through(OPENAI, Dialect.OLLAMA, body).response(FROM_OLLAMA)
    assert isinstance(answer["data"][0]["embedding"], str)
    decoded = openai_client(dump(answer)).embeddings.create(model="m", input="a")
    assert list(decoded.data[1].embedding) == [2.0, -3.0]


def test_ollama_to_openai_and_back() -> None:
    body = {"model": "m", "input": "a", "truncate": False, "keep_alive": "5m", "options": {"num_ctx": 1}}
    translation = through(EMBED, Dialect.OPENAI, body)
    assert translation.request() == {"model": "m", "input": "a", "encoding_format": "float"}
    assert set(translation.dropped) == {"truncate", "keep_alive", "options"}
    answer = ollama.EmbedResponse.model_validate(translation.response(FROM_OPENAI, clock=lambda: 1_763_000_002.0))
    assert answer.embeddings == [[0.5, 1.0], [2.0, -3.0]]
    assert (answer.prompt_eval_count, answer.total_duration) == (6, 2_000_000_000)


def test_the_older_endpoint_has_one_vector() -> None:
    translation = through(OLD, Dialect.OPENAI, {"model": "m", "prompt": "a"})
    assert translation.request()["input"] == "a"
    assert ollama.EmbeddingsResponse.model_validate(translation.response(FROM_OPENAI)).embedding == [0.5, 1.0]


def test_the_older_name_of_input() -> None:
    assert through(EMBED, Dialect.OPENAI, {"model": "m", "prompt": "a"}).request()["input"] == "a"


@pytest.mark.parametrize("body", [{}, {"data": []}, {"data": [{"embedding": 3}]}, {"data": [{"embedding": "!"}]}])
def test_an_answer_without_vectors_is_malformed(body: dict[str, object]) -> None:
    with pytest.raises(MalformedAnswer):
        through(EMBED, Dialect.OPENAI, {"model": "m", "input": "a"}).response(body)


def test_a_wrong_input_is_named() -> None:
    with pytest.raises(InvalidRequest, match="input"):
        through(OPENAI, Dialect.OLLAMA, {"model": "m", "input": {"a": 1}}).request()


def test_usage() -> None:
    assert usage_of(OPENAI, FROM_OPENAI) == Usage(6, 0)
    assert usage_of(EMBED, FROM_OLLAMA) == Usage(6, 0)
    assert usage_of(OLD, {"embedding": [1.0]}) is None
