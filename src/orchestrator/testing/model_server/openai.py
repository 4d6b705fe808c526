"""OpenAI's dialect: models, chat completions, completions and embeddings."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest
from orchestrator.testing.model_server import responses
from orchestrator.testing.model_server.answer import Answer, Tool, Turn, compose, count_tokens
from orchestrator.testing.model_server.content import spoken
from orchestrator.testing.model_server.embedding import embed, packed
from orchestrator.testing.model_server.exchange import Dialect, Exchange, Route
from orchestrator.testing.model_server.plan import Frame, Plan, Stream, Whole

_encode = msgspec.json.encode
_DONE = Frame(b"data: [DONE]\n\n")
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded"}


def _event(data: dict[str, Any], *, token: bool = False) -> Frame:
    return Frame(b"data: %b\n\n" % _encode(data), token)


def error(status: int, message: str, code: str | None = None) -> bytes:
    """OpenAI's error body."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    said = f"The model `{message}` does not exist" if code == "model_not_found" else message
    return _encode({"error": {"message": said, "type": kind, "param": None, "code": code or _CODES.get(status)}})


def _error_frame(message: str) -> bytes:
    return b"data: %b\n\n" % error(500, message)


def _tools(body: dict[str, Any]) -> tuple[Tool, ...]:
    functions = [tool.get("function") or {} for tool in body.get("tools") or [] if isinstance(tool, dict)]
    return tuple(Tool(str(item.get("name", "")), item.get("parameters") or {}) for item in functions)


def _forced(choice: Any) -> str | None:
    if isinstance(choice, dict):
        return str((choice.get("function") or {}).get("name", ""))
    return "" if choice == "required" else None


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    wanted = body.get("response_format")
    if not isinstance(wanted, dict):
        return None
    if wanted.get("type") == "json_schema":
        return (wanted.get("json_schema") or {}).get("schema") or {}
    return {} if wanted.get("type") == "json_object" else None


def _stops(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _limit(exchange: Exchange) -> int | None:
    return exchange.whole_number("max_completion_tokens") or exchange.whole_number("max_tokens")


def _answer(exchange: Exchange) -> Answer:
    body = exchange.body
    said = spoken(exchange.items("messages"))
    choice = body.get("tool_choice")
    turn = Turn(
        said.text,
        said.tokens,
        said.by_user,
        limit=_limit(exchange),
        stop=_stops(body.get("stop")),
        tools=() if choice == "none" else _tools(body),
        forced=_forced(choice),
        schema=_schema(body),
        think=False if body.get("reasoning_effort") == "none" else None,
    )
    return compose(turn, exchange.style)


def usage(answer: Answer) -> dict[str, Any]:
    """OpenAI's usage of an answer."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "completion_tokens_details": {"reasoning_tokens": len(answer.thinking)},
    }


def _finish(answer: Answer) -> str:
    return "stop" if answer.finish == "stop_sequence" else answer.finish


def chat(exchange: Exchange) -> Plan:
    """`POST /v1/chat/completions`"""
    answer = _answer(exchange)
    if exchange.body.get("stream"):
        return _chat_stream(exchange, answer)
    message: dict[str, Any] = {"role": "assistant", "content": None if answer.calls else answer.text}
    if answer.thinking:
        message["reasoning_content"] = answer.thought
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{exchange.number:08x}_{index}",
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.pieces)},
            }
            for index, call in enumerate(answer.calls)
        ]
    body: dict[str, Any] = {
        "id": f"chatcmpl-{exchange.number:08x}",
        "object": "chat.completion",
        "created": exchange.created,
        "model": exchange.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}],
    }
    if exchange.style.usage:
        body["usage"] = usage(answer)
    return Whole(_encode(body), tokens=answer.completion_tokens)


def _chat_stream(exchange: Exchange, answer: Answer) -> Stream:
    base: dict[str, Any] = {
        "id": f"chatcmpl-{exchange.number:08x}",
        "object": "chat.completion.chunk",
        "created": exchange.created,
        "model": exchange.model,
    }

    def delta(value: dict[str, Any], *, token: bool = True, finish: str | None = None) -> Frame:
        choice = {"index": 0, "delta": value, "logprobs": None, "finish_reason": finish}
        return _event({**base, "choices": [choice]}, token=token)

    frames = [delta({"role": "assistant", "content": ""}, token=False)]
    frames += [delta({"reasoning_content": piece}) for piece in answer.thinking]
    frames += [delta({"content": piece}) for piece in answer.tokens]
    for index, call in enumerate(answer.calls):
        function = {"name": call.name, "arguments": ""}
        opening = {
            "index": index,
            "id": f"call_{exchange.number:08x}_{index}",
            "type": "function",
            "function": function,
        }
        frames.append(delta({"tool_calls": [opening]}, token=False))
        frames += [delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}) for piece in call.pieces]
    frames.append(delta({}, token=False, finish=_finish(answer)))
    if _wants_usage(exchange):
        frames.append(_event({**base, "choices": [], "usage": usage(answer)}))
    frames.append(_DONE)
    return Stream(frames)


def _wants_usage(exchange: Exchange) -> bool:
    options = exchange.body.get("stream_options")
    return exchange.style.usage and isinstance(options, dict) and bool(options.get("include_usage"))


def _prompts(value: Any) -> list[str]:
    """Texts of a `prompt` or `input`: a string, strings, token numbers, or lists of token numbers."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise InvalidRequest("the input must be a string or a list that is not empty")
    if all(isinstance(item, int) for item in value):
        return [" ".join(map(str, value))]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in value]


def completions(exchange: Exchange) -> Plan:
    """`POST /v1/completions`: one choice for each prompt."""
    body = exchange.body
    prompts = _prompts(body.get("prompt"))
    limit, stop = exchange.whole_number("max_tokens"), _stops(body.get("stop"))
    turns = [Turn(text, count_tokens(text), limit=limit, stop=stop, think=False) for text in prompts]
    answers = [compose(turn, exchange.style) for turn in turns]
    base: dict[str, Any] = {
        "id": f"cmpl-{exchange.number:08x}",
        "object": "text_completion",
        "created": exchange.created,
        "model": exchange.model,
    }
    prompt_tokens = sum(answer.prompt_tokens for answer in answers)
    sent = sum(answer.completion_tokens for answer in answers)
    spent = {"prompt_tokens": prompt_tokens, "completion_tokens": sent, "total_tokens": prompt_tokens + sent}

    def choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}

    if not body.get("stream"):
        choices = [choice(index, answer.text, _finish(answer)) for index, answer in enumerate(answers)]
        counted = {"usage": spent} if exchange.style.usage else {}
        return Whole(_encode({**base, "choices": choices, **counted}), tokens=sent)
    frames: list[Frame] = []
    for index, answer in enumerate(answers):
        frames += [_event({**base, "choices": [choice(index, piece, None)]}, token=True) for piece in answer.tokens]
        frames.append(_event({**base, "choices": [choice(index, "", _finish(answer))]}))
    if _wants_usage(exchange):
        frames.append(_event({**base, "choices": [], "usage": spent}))
    return Stream([*frames, _DONE])


def embeddings(exchange: Exchange) -> Plan:
    """`POST /v1/embeddings`"""
    texts = _prompts(exchange.body.get("input"))
    dimension = exchange.whole_number("dimensions") or exchange.settings.embedding_dim
    vectors = [embed(text, dimension) for text in texts]
    as_base64 = exchange.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": packed(vector) if as_base64 else vector}
        for index, vector in enumerate(vectors)
    ]
    body: dict[str, Any] = {"object": "list", "data": data, "model": exchange.model}
    if exchange.style.usage:
        tokens = sum(map(count_tokens, texts))
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Whole(_encode(body))


def model(exchange: Exchange) -> Plan:
    """`GET /v1/models/{model}`"""
    return Whole(_encode(_listed(exchange, exchange.model)))


def _listed(exchange: Exchange, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": exchange.created, "owned_by": "library"}


def models(exchange: Exchange) -> Plan:
    """`GET /v1/models`"""
    data = [_listed(exchange, name) for name in exchange.catalogue.names]
    return Whole(_encode({"object": "list", "data": data}))


def health(_exchange: Exchange) -> Plan:
    """`GET /health`, as vLLM and llama.cpp have it."""
    return Whole(b'{"status":"ok"}')


OPENAI = Dialect(
    name="openai",
    routes={
        ("GET", "/health"): Route(health, "health"),
        ("GET", "/v1/models"): Route(models, "health"),
        ("GET", "/v1/models/*"): Route(model, "health", needs_model=True),
        ("POST", "/v1/chat/completions"): Route(chat, "inference", needs_model=True, loads=True),
        ("POST", "/v1/completions"): Route(completions, "inference", needs_model=True, loads=True),
        ("POST", "/v1/embeddings"): Route(embeddings, "inference", needs_model=True, loads=True),
        ("POST", "/v1/responses"): Route(responses.respond, "inference", needs_model=True, loads=True),
    },
    error=error,
    error_frame=_error_frame,
    broken_frame=b'data: {"id":"chatcmpl-broken","choices":[{"index":0,"delta":{"content":"bro\n\n',
)
