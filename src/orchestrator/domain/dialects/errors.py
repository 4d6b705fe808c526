"""Errors in each dialect's own form: bodies, in-band stream errors, and a node's error said in another dialect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.dialects.endpoint import Endpoint
from orchestrator.domain.dialects.sink import dump
from orchestrator.domain.errors import (
    DeadlineExceeded,
    ModelNotFound,
    OrchestratorError,
    Overload,
    RateLimited,
    UpstreamError,
)
from orchestrator.domain.node import Dialect

_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "capacity_error",
    504: "timeout_error",
    529: "capacity_error",
}
_OPENAI_CODES = {
    401: "invalid_api_key",
    404: "not_found",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
    529: "service_unavailable",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OUTLOOK = ("queuePosition", "expectedWaitMs")
_MAX_MESSAGE = 4000  # characters of a node's error page


def error_body(dialect: Dialect, error: OrchestratorError, *, request_id: str) -> dict[str, Any]:
    """The body for a client of `dialect`; the status is `error.status`.

    OpenAI `{error: {message, type, param, code}}`, Anthropic `{type, error: {type, message}, request_id}`, Ollama
    `{error: message}` with `model` and `message` beside it for an overload that names them in its details. Who was
    turned away from the queue also finds `queuePosition` and `expectedWaitMs` there; in OpenAI's form they are in
    `error`, and Anthropic's has no room for them.
    """
    if dialect is Dialect.OPENAI:
        return {"error": _openai_error(error)}
    if dialect is Dialect.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
        return _anthropic_body(kind, error.message, request_id)
    body: dict[str, Any] = {"error": error.message}
    if isinstance(error, Overload):
        body |= {name: error.details[name] for name in ("model", "message", *_OUTLOOK) if name in error.details}
        if "model" in body:
            body.setdefault("message", error.message)
    return body


def stream_error(dialect: Dialect, error: OrchestratorError, *, request_id: str) -> bytes:
    """Exactly one explicit error for a stream that has begun. Nothing may follow it."""
    body = dump(error_body(dialect, error, request_id=request_id))
    if dialect is Dialect.OLLAMA:
        return body + b"\n"
    if dialect is Dialect.ANTHROPIC:
        return b"event: error\ndata: " + body + b"\n\n"
    return b"data: " + body + b"\n\n"


def translate_error(
    target_body: bytes | Mapping[str, Any], status: int, source: Endpoint, target: Endpoint
) -> dict[str, Any]:
    """A node's error body, of `status`, in the client's dialect. The message stays as it is."""
    body = _parsed(target_body)
    if isinstance(body, dict) and source.dialect is target.dialect:
        return body
    inner = body.get("error", body) if isinstance(body, dict) else body
    message = _message(inner)
    fields = inner if isinstance(inner, dict) else {}
    if source.dialect is Dialect.OLLAMA:
        return {"error": message}
    if source.dialect is Dialect.ANTHROPIC:
        request_id = body.get("request_id") if isinstance(body, dict) else None
        return _anthropic_body(_ANTHROPIC_TYPES.get(status, _default_type(status, "api_error")), message, request_id)
    missing_model = status == 404 and "model" in message.lower()
    code = fields.get("code") if isinstance(fields.get("code"), str) else None
    return {
        "error": {
            "message": message,
            "type": _OPENAI_TYPES.get(status, _default_type(status, "server_error")),
            "param": fields.get("param") or ("model" if missing_model else None),
            "code": code or ("model_not_found" if missing_model else _OPENAI_CODES.get(status)),
        }
    }


def _default_type(status: int, other: str) -> str:
    return "invalid_request_error" if 400 <= status < 500 else other


def _openai_error(error: OrchestratorError) -> dict[str, Any]:
    param = error.details.get("param")
    kind = _OPENAI_TYPES.get(error.status, _default_type(error.status, "server_error"))
    code = error.details.get("code")
    if isinstance(error, ModelNotFound):
        param = param or "model"
    if isinstance(error, Overload) and not isinstance(error, RateLimited | DeadlineExceeded):
        kind, code = "capacity_error", code or "service_unavailable"
    elif isinstance(error, RateLimited):
        code = code or "rate_limit_exceeded"
    elif isinstance(error, UpstreamError):
        kind = "server_error"
    body = {"message": error.message, "type": kind, "param": param, "code": code or error.code}
    return body | {name: error.details[name] for name in _OUTLOOK if name in error.details}


def _anthropic_body(kind: str, message: str, request_id: str | None) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def _parsed(body: bytes | Mapping[str, Any]) -> dict[str, Any] | str:
    if isinstance(body, Mapping):
        return dict(body)
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except ValueError:
        return text[:_MAX_MESSAGE]
    return value if isinstance(value, dict) else text[:_MAX_MESSAGE]


def _message(value: Any) -> str:
    """From `message` (OpenAI, Anthropic, older vLLM), `detail` (FastAPI) or the text itself (Ollama)."""
    if isinstance(value, dict):
        for name in ("message", "detail", "error"):
            if value.get(name):
                return _message(value[name])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
