"""Requests that clients send and answers that nodes give, one of each per dialect and feature."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from orchestrator.domain.dialects import ENDPOINTS, Endpoint, Translation, translate
from orchestrator.domain.node import Dialect

NOW = 1_763_000_000.0
PNG = "iVBORw0KGgoAAAANSUhEUg=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ARGUMENTS = {"city": "Paris", "unit": "C"}
CHAT = ENDPOINTS["/v1/chat/completions"]
COMPLETIONS = ENDPOINTS["/v1/completions"]
RESPONSES = ENDPOINTS["/v1/responses"]
MESSAGES = ENDPOINTS["/v1/messages"]
OCHAT = ENDPOINTS["/api/chat"]
GENERATE = ENDPOINTS["/api/generate"]
CHAT_OF = {Dialect.OPENAI: CHAT, Dialect.ANTHROPIC: MESSAGES, Dialect.OLLAMA: OCHAT}
FEATURES = ("plain", "tools", "images", "json", "reasoning")


def through(
    source: Endpoint, target: Dialect, body: dict[str, Any], *, model: str = "alias", request_id: str = "r1"
) -> Translation:
    return translate(source, target, body, model=model, request_id=request_id, now=NOW)


def _openai_request(feature: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "weather?"}],
        "temperature": 0.5,
        "max_tokens": 40000,
    }
    if feature == "tools":
        function = {"name": "weather", "description": "of a city", "parameters": SCHEMA}
        body["tools"] = [{"type": "function", "function": function}]
        body["tool_choice"] = "auto"
        call = {"name": "weather", "arguments": json.dumps(ARGUMENTS)}
        body["messages"] += [
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ]
    elif feature == "images":
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
        body["messages"][1] = {"role": "user", "content": [{"type": "text", "text": "weather?"}, picture]}
    elif feature == "json":
        spec = {"name": "place", "schema": SCHEMA, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": spec}
    elif feature == "reasoning":
        body["reasoning_effort"] = "low"
    return body


def _anthropic_request(feature: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": "m",
        "system": "be brief",
        "messages": [{"role": "user", "content": "weather?"}],
        "temperature": 0.5,
        "max_tokens": 40000,
    }
    if feature == "tools":
        body["tools"] = [{"name": "weather", "description": "of a city", "input_schema": SCHEMA}]
        body["tool_choice"] = {"type": "auto"}
        call = {"type": "tool_use", "id": "c1", "name": "weather", "input": ARGUMENTS}
        result = {"type": "tool_result", "tool_use_id": "c1", "content": "rain"}
        body["messages"] += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    elif feature == "images":
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        content = [{"type": "text", "text": "weather?"}, {"type": "image", "source": source}]
        body["messages"] = [{"role": "user", "content": content}]
    elif feature == "json":
        body["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
    elif feature == "reasoning":
        body["thinking"] = {"type": "enabled", "budget_tokens": 2048}
    return body


def _ollama_request(feature: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "weather?"}],
        "options": {"temperature": 0.5, "num_predict": 40000},
    }
    if feature == "tools":
        function = {"name": "weather", "description": "of a city", "parameters": SCHEMA}
        body["tools"] = [{"type": "function", "function": function}]
        call = {"function": {"name": "weather", "arguments": ARGUMENTS}}
        body["messages"] += [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_name": "weather", "content": "rain"},
        ]
    elif feature == "images":
        body["messages"][1]["images"] = [PNG]
    elif feature == "json":
        body["format"] = SCHEMA
    elif feature == "reasoning":
        body["think"] = True
    return body


def request_of(dialect: Dialect, feature: str, stream: bool) -> dict[str, Any]:
    make = {
        Dialect.OPENAI: _openai_request,
        Dialect.ANTHROPIC: _anthropic_request,
        Dialect.OLLAMA: _ollama_request,
    }
    return make[dialect](feature) | {"stream": stream}


# What every answer of a feature says, whatever the dialect.
TEXT = {"plain": "Hé 🌧 llo", "tools": "", "images": "a cat", "json": '{"city": "Paris"}', "reasoning": "rain"}
THOUGHT = "hm, clouds"


def pieces(text: str) -> list[str]:
    return [text[i : i + 3] for i in range(0, len(text), 3)]


def openai_answer(feature: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": TEXT[feature]}
    if feature == "tools":
        call = {"name": "weather", "arguments": json.dumps(ARGUMENTS)}
        message |= {"content": None, "tool_calls": [{"id": "call_9", "type": "function", "function": call}]}
    elif feature == "reasoning":
        message["reasoning_content"] = THOUGHT
    finish = "tool_calls" if feature == "tools" else "stop"
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }


def anthropic_answer(feature: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if feature == "reasoning":
        content.append({"type": "thinking", "thinking": THOUGHT, "signature": "sig"})
    if feature == "tools":
        content.append({"type": "tool_use", "id": "call_9", "name": "weather", "input": ARGUMENTS})
    else:
        content.append({"type": "text", "text": TEXT[feature]})
    return {
        "id": "x",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": "tool_use" if feature == "tools" else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "cache_read_input_tokens": 4, "output_tokens": 7},
    }


def _ollama_end() -> dict[str, Any]:
    return {
        "done": True,
        "done_reason": "stop",
        "total_duration": 50,
        "load_duration": 10,
        "prompt_eval_count": 11,
        "prompt_eval_duration": 15,
        "eval_count": 7,
        "eval_duration": 25,
    }


def ollama_answer(feature: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": TEXT[feature]}
    if feature == "tools":
        message["tool_calls"] = [{"id": "call_9", "function": {"name": "weather", "arguments": ARGUMENTS}}]
    elif feature == "reasoning":
        message["thinking"] = THOUGHT
    return {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, **_ollama_end()}


def answer_of(dialect: Dialect, feature: str) -> dict[str, Any]:
    make = {
        Dialect.OPENAI: openai_answer,
        Dialect.ANTHROPIC: anthropic_answer,
        Dialect.OLLAMA: ollama_answer,
    }
    return make[dialect](feature)


def sse(payload: Any, event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(payload, ensure_ascii=False)}\n\n".encode()


def _openai_chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return sse({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def openai_stream(feature: str) -> bytes:
    out = _openai_chunk({"role": "assistant", "content": ""})
    if feature == "reasoning":
        out += b"".join(_openai_chunk({"reasoning_content": p}) for p in pieces(THOUGHT))
    if feature == "tools":
        function = {"name": "weather", "arguments": ""}
        out += _openai_chunk({"tool_calls": [{"index": 0, "id": "call_9", "type": "function", "function": function}]})
        for piece in pieces(json.dumps(ARGUMENTS)):
            out += _openai_chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    else:
        out += b"".join(_openai_chunk({"content": p}) for p in pieces(TEXT[feature]))
    out += _openai_chunk({}, "tool_calls" if feature == "tools" else "stop")
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    out += sse(head | {"usage": openai_answer(feature)["usage"]})
    return b": ping\n\n" + out + b"data: [DONE]\n\n"


def _anthropic_event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


def anthropic_stream(feature: str) -> bytes:
    message = anthropic_answer(feature) | {"content": [], "stop_reason": None}
    message["usage"] = message["usage"] | {"output_tokens": 1}
    out = _anthropic_event("message_start", message=message) + _anthropic_event("ping")
    index = 0
    if feature == "reasoning":
        block = {"type": "thinking", "thinking": "", "signature": ""}
        out += _anthropic_event("content_block_start", index=0, content_block=block)
        for piece in pieces(THOUGHT):
            delta = {"type": "thinking_delta", "thinking": piece}
            out += _anthropic_event("content_block_delta", index=0, delta=delta)
        delta = {"type": "signature_delta", "signature": "sig"}
        out += _anthropic_event("content_block_delta", index=0, delta=delta)
        out += _anthropic_event("content_block_stop", index=0)
        index = 1
    block = {"type": "text", "text": ""}
    if feature == "tools":
        block = {"type": "tool_use", "id": "call_9", "name": "weather", "input": {}}
    out += _anthropic_event("content_block_start", index=index, content_block=block)
    text = json.dumps(ARGUMENTS) if feature == "tools" else TEXT[feature]
    for piece in pieces(text):
        delta = {"type": "text_delta", "text": piece}
        if feature == "tools":
            delta = {"type": "input_json_delta", "partial_json": piece}
        out += _anthropic_event("content_block_delta", index=index, delta=delta)
    out += _anthropic_event("content_block_stop", index=index)
    reason = {"stop_reason": "tool_use" if feature == "tools" else "end_turn", "stop_sequence": None}
    out += _anthropic_event("message_delta", delta=reason, usage={"output_tokens": 7})
    return out + _anthropic_event("message_stop")


def ollama_stream(feature: str) -> bytes:
    def line(message: dict[str, Any], **fields: Any) -> bytes:
        body = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False} | fields
        return json.dumps(body, ensure_ascii=False).encode() + b"\n"

    out = b""
    empty = {"role": "assistant", "content": ""}
    if feature == "reasoning":
        out += b"".join(line(empty | {"thinking": p}) for p in pieces(THOUGHT))
    if feature == "tools":
        call = {"id": "call_9", "function": {"name": "weather", "arguments": ARGUMENTS}}
        out += line(empty | {"tool_calls": [call]})
    else:
        out += b"".join(line(empty | {"content": p}) for p in pieces(TEXT[feature]))
    return out + line(empty, **_ollama_end())


def stream_of(dialect: Dialect, feature: str) -> bytes:
    make = {
        Dialect.OPENAI: openai_stream,
        Dialect.ANTHROPIC: anthropic_stream,
        Dialect.OLLAMA: ollama_stream,
    }
    return make[dialect](feature)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside `value`."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += spots(inner, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], by)
    return copy
