"""Errors in each dialect's form, read by the real clients."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import anthropic
import ollama
import openai
import pytest
from anthropic.types import ErrorResponse
from dialect_clients import anthropic_client, openai_client, strictly
from dialect_samples import CHAT, CHAT_OF, MESSAGES, OCHAT

from orchestrator.domain.dialects import error_body, stream_error, translate_error
from orchestrator.domain.errors import (
    ConnectFailed,
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    ModelNotFound,
    OrchestratorError,
    QueueFull,
    RateLimited,
    ShuttingDown,
    Stalled,
    TooLarge,
    Unauthenticated,
    Unsupported,
)
from orchestrator.domain.node import Dialect

MISSING = InvalidRequest("no model", details={"param": "model", "code": "missing_required_parameter"})


@pytest.mark.parametrize(
    ("error", "kind", "code", "param"),
    [
        (MISSING, "invalid_request_error", "missing_required_parameter", "model"),
        (Unsupported("x"), "invalid_request_error", "unsupported", None),
        (ModelNotFound("x"), "invalid_request_error", "model_not_found", "model"),
        (Unauthenticated(), "authentication_error", "unauthenticated", None),
        (Forbidden(), "permission_error", "forbidden", None),
        (TooLarge(), "invalid_request_error", "too_large", None),
        (RateLimited(), "rate_limit_error", "rate_limit_exceeded", None),
        (QueueFull(), "capacity_error", "service_unavailable", None),
        (ShuttingDown(), "capacity_error", "service_unavailable", None),
        (DeadlineExceeded(), "timeout_error", "deadline_exceeded", None),
        (ConnectFailed(), "server_error", "upstream_unreachable", None),
        (Stalled(), "server_error", "upstream_stalled", None),
        (OrchestratorError("x"), "server_error", "internal_error", None),
    ],
)
def test_openai_words(error: OrchestratorError, kind: str, code: str, param: str | None) -> None:
    body = error_body(Dialect.OPENAI, error, request_id="r")
    assert body == {"error": {"message": error.message, "type": kind, "param": param, "code": code}}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MISSING, "invalid_request_error"),
        (Unauthenticated(), "authentication_error"),
        (Forbidden(), "permission_error"),
        (ModelNotFound("x"), "not_found_error"),
        (RateLimited(), "rate_limit_error"),
        (QueueFull(), "overloaded_error"),
        (Stalled(), "timeout_error"),
        (ConnectFailed(), "api_error"),
    ],
)
def test_anthropic_words(error: OrchestratorError, kind: str) -> None:
    body = error_body(Dialect.ANTHROPIC, error, request_id="r")
    parsed = strictly(ErrorResponse, body)
    assert (parsed.error.type, parsed.error.message, parsed.request_id) == (kind, error.message, "r")


def test_ollama_words() -> None:
    assert error_body(Dialect.OLLAMA, ModelNotFound("model 'nope' not found"), request_id="r") == {
        "error": "model 'nope' not found"
    }
    full = QueueFull("All servers at max concurrency", details={"model": "m", "message": "try later", "secret": 1})
    assert error_body(Dialect.OLLAMA, full, request_id="r") == {
        "error": "All servers at max concurrency",
        "model": "m",
        "message": "try later",
    }


def test_a_stream_error_reaches_the_user_of_each_client() -> None:
    error = Stalled("no token for 30 s")
    data = stream_error(Dialect.OPENAI, error, request_id="r")
    with pytest.raises(openai.APIError, match="no token for 30 s"):
        list(openai_client(data).chat.completions.create(model="m", messages=[], stream=True))
    with pytest.raises(openai.APIError, match="no token for 30 s"):
        list(openai_client(data).responses.create(model="m", input="x", stream=True))
    assert b"[DONE]" not in data

    data = stream_error(Dialect.ANTHROPIC, error, request_id="r")
    with pytest.raises(anthropic.APIStatusError, match="no token for 30 s"):
        list(anthropic_client(data).messages.create(model="m", max_tokens=1, messages=[], stream=True))

    data = stream_error(Dialect.OLLAMA, error, request_id="r")
    assert data.count(b"\n") == 1
    assert ollama.ResponseError(json.loads(data)["error"]).error == "no token for 30 s"


NODE_ERRORS: dict[Dialect, dict[str, Any]] = {
    Dialect.OPENAI: {"error": {"message": "too long", "type": "BadRequestError", "param": "messages", "code": 400}},
    Dialect.ANTHROPIC: {"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}},
    Dialect.OLLAMA: {"error": "too long"},
}


@pytest.mark.parametrize(("source", "target"), list(product(Dialect, Dialect)))
def test_a_nodes_refusal_keeps_its_message(source: Dialect, target: Dialect) -> None:
    raw = json.dumps(NODE_ERRORS[target]).encode()
    body = translate_error(raw, 400, CHAT_OF[source], CHAT_OF[target])
    assert translate_error(NODE_ERRORS[target], 400, CHAT_OF[source], CHAT_OF[target]) == body
    if source is target:
        assert body == NODE_ERRORS[target]
    message = body["error"] if source is Dialect.OLLAMA else body["error"]["message"]
    assert message == "too long"
    if source is Dialect.ANTHROPIC:
        assert body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"object":"error","message":"old vLLM","code":404}', "old vLLM"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"detail":[{"loc":["body"],"msg":"bad"}]}', '[{"loc": ["body"], "msg": "bad"}]'),
        (b"<html>nginx \xff</html>", "<html>nginx \ufffd</html>"),
        (b'"just text"', '"just text"'),
        (b'{"error":{"message":"inner"}}', "inner"),
    ],
)
def test_any_error_page_is_said(raw: bytes, message: str) -> None:
    assert translate_error(raw, 404, OCHAT, CHAT) == {"error": message}
    assert translate_error(raw, 404, MESSAGES, CHAT)["error"] == {"type": "not_found_error", "message": message}


def test_an_unknown_model_of_a_node_is_one_in_openais_words() -> None:
    error = translate_error(b'{"error":"model \'x\' not found"}', 404, CHAT, OCHAT)["error"]
    assert (error["code"], error["param"], error["type"]) == ("model_not_found", "model", "invalid_request_error")
