"""Anthropic's dialect: messages, token counting and models."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest
from orchestrator.testing.model_server.answer import Answer, Tool, Turn, compose, count_tokens
from orchestrator.testing.model_server.exchange import Dialect, Exchange, Route, Spoken, image_mark
from orchestrator.testing.model_server.plan import Frame, Plan, Stream, Whole

_encode = msgspec.json.encode
_SIGNATURE = "ZmFrZS1zaWduYXR1cmU="
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "stop_sequence": "stop_sequence"}


def _event(kind: str, *, token: bool = False, **fields: Any) -> Frame:
    return Frame(b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **fields})), token)


def error(status: int, message: str, code: str | None = None) -> bytes:
    """Anthropic's error body; the type follows from the status, so `code` has no place in it."""
    kind = _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    said = f"model: {message}" if code == "model_not_found" else message
    return _encode({"type": "error", "error": {"type": kind, "message": said}, "request_id": None})


def _error_frame(message: str) -> bytes:
    return b"event: error\ndata: %b\n\n" % error(500, message)


def _content_text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise InvalidRequest("content: Input should be a string or a list of blocks")
    parts = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            parts.append(str(block.get("text", "")))
        elif kind == "image":
            source = block.get("source") or {}
            is_url = source.get("type") == "url"
            parts.append(f"[image {source.get('url')}]" if is_url else image_mark(str(source.get("data", ""))))
        elif kind == "tool_result":
            parts.append(_content_text(block.get("content")))
    return " ".join(parts)


def _by_user(message: dict[str, Any]) -> bool:
    content = message.get("content")
    results = isinstance(content, list) and any(
        isinstance(block, dict) and block.get("type") == "tool_result" for block in content
    )
    return message.get("role") == "user" and not results


def _spoken(exchange: Exchange) -> Spoken:
    system = _content_text(exchange.body.get("system"))
    text, by_user, tokens = "", True, count_tokens(system)
    for message in exchange.items("messages"):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise InvalidRequest("messages: every message needs a role, 'user' or 'assistant'")
        text, by_user = _content_text(message.get("content")), _by_user(message)
        tokens += count_tokens(text)
    return Spoken(text, tokens, by_user)


def _think(value: Any) -> bool | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return {"enabled": True, "adaptive": True, "disabled": False}.get(str(kind))


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return (form.get("schema") or {}) if form.get("type") == "json_schema" else None


def _forced(choice: dict[str, Any]) -> str | None:
    return {"any": "", "tool": str(choice.get("name", ""))}.get(str(choice.get("type")))


def _answer(exchange: Exchange) -> Answer:
    body = exchange.body
    limit = exchange.whole_number("max_tokens")
    if limit is None:
        raise InvalidRequest("max_tokens: Field required")
    said = _spoken(exchange)
    choice = body.get("tool_choice") or {}
    offered = body.get("tools") or []
    turn = Turn(
        said.text,
        said.tokens,
        said.by_user,
        limit=limit,
        stop=tuple(body.get("stop_sequences") or ()),
        tools=tuple(Tool(str(tool.get("name", "")), tool.get("input_schema") or {}) for tool in offered)
        if choice.get("type") != "none"
        else (),
        forced=_forced(choice),
        schema=_schema(body),
        think=_think(body.get("thinking")),
    )
    return compose(turn, exchange.style)


def _call_id(exchange: Exchange, index: int) -> str:
    return f"toolu_{exchange.number:08x}_{index}"


def messages(exchange: Exchange) -> Plan:
    """`POST /v1/messages`"""
    answer = _answer(exchange)
    if exchange.body.get("stream"):
        return _stream(exchange, answer)
    content: list[dict[str, Any]] = []
    if answer.thinking:
        content.append({"type": "thinking", "thinking": answer.thought, "signature": _SIGNATURE})
    if answer.tokens:
        content.append({"type": "text", "text": answer.text})
    content += [
        {"type": "tool_use", "id": _call_id(exchange, index), "name": call.name, "input": call.arguments}
        for index, call in enumerate(answer.calls)
    ]
    body = _message(exchange)
    body |= {"content": content, "stop_reason": _STOPS[answer.finish], "stop_sequence": answer.stopped_by}
    if exchange.style.usage:
        body["usage"] = {"input_tokens": answer.prompt_tokens, "output_tokens": answer.completion_tokens}
    return Whole(_encode(body), tokens=answer.completion_tokens)


def _message(exchange: Exchange) -> dict[str, Any]:
    return {
        "id": f"msg_{exchange.number:08x}",
        "type": "message",
        "role": "assistant",
        "model": exchange.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _block(index: int, opening: dict[str, Any], deltas: list[dict[str, Any]]) -> list[Frame]:
    """A content block; a signature is no token."""
    start = _event("content_block_start", index=index, content_block=opening)
    parts = [
        _event("content_block_delta", token=delta["type"] != "signature_delta", index=index, delta=delta)
        for delta in deltas
    ]
    return [start, *parts, _event("content_block_stop", index=index)]


def _stream(exchange: Exchange, answer: Answer) -> Stream:
    message = _message(exchange)
    if exchange.style.usage:
        message["usage"] = {"input_tokens": answer.prompt_tokens, "output_tokens": 0}
    frames = [_event("message_start", message=message), _event("ping")]
    index = 0
    if answer.thinking:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in answer.thinking]
        signature = {"type": "signature_delta", "signature": _SIGNATURE}
        frames += _block(0, {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signature])
        index = 1
    if answer.tokens:
        deltas = [{"type": "text_delta", "text": piece} for piece in answer.tokens]
        frames += _block(index, {"type": "text", "text": ""}, deltas)
    for number, call in enumerate(answer.calls):
        opening = {"type": "tool_use", "id": _call_id(exchange, number), "name": call.name, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in call.pieces]
        frames += _block(index + number, opening, deltas)
    ending: dict[str, Any] = {"stop_reason": _STOPS[answer.finish], "stop_sequence": answer.stopped_by}
    final: dict[str, Any] = {"delta": ending}
    if exchange.style.usage:
        final["usage"] = {"output_tokens": answer.completion_tokens}
    frames.append(_event("message_delta", token=False, **final))
    frames.append(_event("message_stop"))
    return Stream(frames)


def count(exchange: Exchange) -> Plan:
    """`POST /v1/messages/count_tokens`"""
    return Whole(_encode({"input_tokens": _spoken(exchange).tokens}))


def _listed(exchange: Exchange, name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": exchange.stamp}


def models(exchange: Exchange) -> Plan:
    """`GET /v1/models` in Anthropic's shape."""
    data = [_listed(exchange, name) for name in exchange.catalogue.names]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return Whole(_encode({"data": data, "has_more": False, **ends}))


def model(exchange: Exchange) -> Plan:
    """`GET /v1/models/{model}` in Anthropic's shape."""
    return Whole(_encode(_listed(exchange, exchange.model)))


ANTHROPIC = Dialect(
    name="anthropic",
    routes={
        ("GET", "/v1/models"): Route(models, "health"),
        ("GET", "/v1/models/*"): Route(model, "health", needs_model=True),
        ("POST", "/v1/messages"): Route(messages, "inference", needs_model=True, loads=True),
        ("POST", "/v1/messages/count_tokens"): Route(count, "inference", needs_model=True),
    },
    error=error,
    error_frame=_error_frame,
    broken_frame=b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"te\n\n',
)
