"""Ollama's dialect: generate, chat and embeddings; `ollama_library` has the routes about models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest
from orchestrator.testing.model_server import ollama_library
from orchestrator.testing.model_server.answer import Answer, Tool, Turn, compose, count_tokens
from orchestrator.testing.model_server.embedding import embed
from orchestrator.testing.model_server.exchange import Dialect, Exchange, Residency, Route, image_mark
from orchestrator.testing.model_server.memory import KEEP_ALIVE
from orchestrator.testing.model_server.plan import NDJSON, Frame, Plan, Stream, Whole
from orchestrator.testing.model_server.request import Request

_encode = msgspec.json.encode
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NANOSECONDS = 1_000_000_000
_NANOSECONDS_PER_TOKEN = 10_000_000


def error(_status: int, message: str, code: str | None = None) -> bytes:
    """Ollama's error body: a text and nothing else."""
    return _encode({"error": f"model '{message}' not found" if code == "model_not_found" else message})


def _error_frame(message: str) -> bytes:
    return _encode({"error": message}) + b"\n"


def _line(data: dict[str, Any], *, token: bool = False) -> Frame:
    return Frame(_encode(data) + b"\n", token)


def keep_alive(value: Any) -> float | None:
    """Seconds from `keep_alive`: a number of seconds or a duration such as `1h30m`; negative is for ever (`None`)."""
    if value is None:
        return KEEP_ALIVE
    if isinstance(value, str):
        sign, text = (-1, value[1:]) if value.startswith("-") else (1, value)
        parts = [("0", "s")] if text == "0" else _DURATION.findall(text)
        if text != "0" and (not text or "".join(number + unit for number, unit in parts) != text):
            raise InvalidRequest(f'time: invalid duration "{value}"')
        value = sign * sum(float(number) * _UNITS[unit] for number, unit in parts)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest("keep_alive must be a number or a duration")
    return None if value < 0 else float(value)


def _is_empty(path: str, body: Mapping[str, Any]) -> bool:
    """Whether the request only loads or unloads its model."""
    return (path == "/api/generate" and not body.get("prompt")) or (path == "/api/chat" and not body.get("messages"))


def residency(request: Request, body: Mapping[str, Any]) -> Residency:
    """`keep_alive: 0` without a prompt unloads; everything else loads."""
    seconds = keep_alive(body.get("keep_alive"))
    return Residency(load=not (seconds == 0 and _is_empty(request.path, body)), keep_alive=seconds)


def _begun(exchange: Exchange) -> dict[str, Any]:
    return {"model": exchange.model, "created_at": exchange.stamp}


def _load_or_unload(exchange: Exchange, empty: dict[str, Any]) -> Plan:
    seconds = keep_alive(exchange.body.get("keep_alive"))
    model = exchange.catalogue.find(exchange.model)
    if seconds == 0 and model is not None:
        exchange.memory.unload(model)
    reason = "unload" if seconds == 0 else "load"
    data = {**_begun(exchange), **empty, "done": True, "done_reason": reason}
    return Whole(_encode(data))


def _ending(exchange: Exchange, answer: Answer) -> dict[str, Any]:
    """The last line's fields. Durations are nanoseconds made from the counts; only that of loading is measured."""
    ended: dict[str, Any] = {"done": True, "done_reason": "length" if answer.finish == "length" else "stop"}
    if not exchange.style.usage:
        return ended
    load = int(exchange.load_seconds * _NANOSECONDS)
    prompt = answer.prompt_tokens * _NANOSECONDS_PER_TOKEN // 10
    evaluated = answer.completion_tokens * _NANOSECONDS_PER_TOKEN
    return ended | {
        "total_duration": load + prompt + evaluated,
        "load_duration": load,
        "prompt_eval_count": answer.prompt_tokens,
        "prompt_eval_duration": prompt,
        "eval_count": answer.completion_tokens,
        "eval_duration": evaluated,
    }


def _turn(exchange: Exchange, text: str, tokens: int, *, by_user: bool = True) -> Turn:
    body = exchange.body
    options = body.get("options") or {}
    limit, stop, form = options.get("num_predict"), options.get("stop") or (), body.get("format")
    offered = [tool.get("function") or {} for tool in body.get("tools") or []]
    think = body.get("think")
    return Turn(
        text,
        tokens,
        by_user,
        limit=limit if isinstance(limit, int) and limit > 0 else None,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        tools=tuple(Tool(str(item.get("name", "")), item.get("parameters") or {}) for item in offered),
        schema=form if isinstance(form, dict) else {} if form == "json" else None,
        think=bool(think) if think is not None else None,
    )


def _message_text(message: Any) -> str:
    if not isinstance(message, dict) or "role" not in message:
        raise InvalidRequest("every message needs a role")
    marks = [image_mark(str(data)) for data in message.get("images") or []]
    return " ".join([str(message.get("content") or ""), *marks])


def chat(exchange: Exchange) -> Plan:
    """`POST /api/chat`"""
    messages = exchange.body.get("messages") or []
    if not messages:
        return _load_or_unload(exchange, {"message": {"role": "assistant", "content": ""}})
    texts = [_message_text(message) for message in messages]
    by_user = messages[-1]["role"] == "user"
    answer = compose(_turn(exchange, texts[-1], sum(map(count_tokens, texts)), by_user=by_user), exchange.style)
    calls = [
        {"id": f"call_{exchange.number:08x}_{n}", "function": {"index": n, "name": c.name, "arguments": c.arguments}}
        for n, c in enumerate(answer.calls)
    ]
    begun = _begun(exchange)

    def line(message: dict[str, Any]) -> Frame:
        return _line({**begun, "message": {"role": "assistant", "content": "", **message}, "done": False}, token=True)

    if exchange.body.get("stream", True):
        frames = [line({"thinking": piece}) for piece in answer.thinking]
        frames += [line({"content": piece}) for piece in answer.tokens]
        frames += [line({"tool_calls": [call]}) for call in calls]
        ending = {"message": {"role": "assistant", "content": ""}, **_ending(exchange, answer)}
        return Stream([*frames, _line({**begun, **ending})], NDJSON)
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.thinking:
        message["thinking"] = answer.thought
    if calls:
        message["tool_calls"] = calls
    data = {**begun, "message": message, **_ending(exchange, answer)}
    return Whole(_encode(data), tokens=answer.completion_tokens)


def generate(exchange: Exchange) -> Plan:
    """`POST /api/generate`"""
    prompt = exchange.text("prompt", "")
    if not prompt:
        return _load_or_unload(exchange, {"response": ""})
    text = " ".join([prompt, *(image_mark(str(data)) for data in exchange.body.get("images") or [])])
    tokens = count_tokens(text) + count_tokens(exchange.text("system", ""))
    answer = compose(_turn(exchange, text, tokens), exchange.style)
    begun = _begun(exchange)
    context = {} if exchange.body.get("raw") else {"context": list(range(1, answer.completion_tokens + 1))}
    ending = {**_ending(exchange, answer), **context}
    if not exchange.body.get("stream", True):
        thought = {"thinking": answer.thought} if answer.thinking else {}
        data = {**begun, "response": answer.text, **thought, **ending}
        return Whole(_encode(data), tokens=answer.completion_tokens)
    frames = [_line({**begun, "response": "", "thinking": part, "done": False}, token=True) for part in answer.thinking]
    frames += [_line({**begun, "response": piece, "done": False}, token=True) for piece in answer.tokens]
    return Stream([*frames, _line({**begun, "response": "", **ending})], NDJSON)


def embeddings(exchange: Exchange) -> Plan:
    """`POST /api/embed`: one vector for each input."""
    value = exchange.body.get("input")
    texts = [value] if isinstance(value, str) else value or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("invalid input type")
    dimension = exchange.whole_number("dimensions") or exchange.settings.embedding_dim
    data: dict[str, Any] = {"model": exchange.model, "embeddings": [embed(text, dimension) for text in texts]}
    if exchange.style.usage:
        load = int(exchange.load_seconds * _NANOSECONDS)
        counted = sum(map(count_tokens, texts))
        data |= {"total_duration": load + counted, "load_duration": load, "prompt_eval_count": counted}
    return Whole(_encode(data))


def embedding(exchange: Exchange) -> Plan:
    """`POST /api/embeddings`: the older form, one prompt."""
    prompt = exchange.text("prompt", "")
    vector = embed(prompt, exchange.settings.embedding_dim) if prompt else ()
    return Whole(_encode({"embedding": vector}))


OLLAMA = Dialect(
    name="ollama",
    routes={
        **ollama_library.ROUTES,
        ("POST", "/api/generate"): Route(generate, "inference", needs_model=True, loads=True),
        ("POST", "/api/chat"): Route(chat, "inference", needs_model=True, loads=True),
        ("POST", "/api/embed"): Route(embeddings, "inference", needs_model=True, loads=True),
        ("POST", "/api/embeddings"): Route(embedding, "inference", needs_model=True, loads=True),
    },
    error=error,
    error_frame=_error_frame,
    broken_frame=b'{"model":"broken","message":{"role":"assistant","content":"bro\n',
    residency=residency,
)
