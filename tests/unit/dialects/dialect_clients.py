"""What the real clients make of a body or a stream: strict validation with their own types, over a canned transport."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx2
import ollama
import openai
import pydantic
from openai.types import chat as openai_chat
from openai.types import responses as openai_responses

from orchestrator.domain.node import Dialect


@dataclass
class Seen:
    """The meaning of one answer, as a client's user sees it."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


def strictly(model: type[pydantic.BaseModel], value: Any) -> Any:
    """Validation that the clients themselves skip for speed."""
    return pydantic.TypeAdapter(model).validate_python(value)


def _openai_message(body: dict[str, Any]) -> Seen:
    answer = strictly(openai_chat.ChatCompletion, body)
    message = answer.choices[0].message
    return Seen(
        message.content or "",
        getattr(message, "reasoning_content", "") or "",
        [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()],
        answer.choices[0].finish_reason,
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )


def _anthropic_message(message: Any) -> Seen:
    seen = Seen(finish=message.stop_reason)
    for block in message.content:
        if block.type == "text":
            seen.text += block.text
        elif block.type == "thinking":
            seen.reasoning += block.thinking
        elif block.type == "tool_use":
            seen.calls.append((block.name, block.input))
    usage = message.usage
    seen.prompt_tokens = usage.input_tokens + (usage.cache_read_input_tokens or 0)
    seen.completion_tokens = usage.output_tokens
    return seen


def _ollama_message(parts: list[ollama.ChatResponse]) -> Seen:
    last = parts[-1]
    assert last.done
    seen = Seen(finish=last.done_reason or "")
    for part in parts:
        seen.text += part.message.content or ""
        seen.reasoning += part.message.thinking or ""
        seen.calls += [(c.function.name, dict(c.function.arguments)) for c in part.message.tool_calls or ()]
    seen.prompt_tokens = last.prompt_eval_count or 0
    seen.completion_tokens = last.eval_count or 0
    return seen


def see(dialect: Dialect, body: dict[str, Any]) -> Seen:
    """A complete answer."""
    if dialect is Dialect.OPENAI:
        return _openai_message(body)
    if dialect is Dialect.ANTHROPIC:
        return _anthropic_message(strictly(anthropic.types.Message, body))
    return _ollama_message([ollama.ChatResponse.model_validate(body)])


def _canned(data: bytes) -> httpx2.MockTransport:
    headers = {"content-type": "text/event-stream"}
    return httpx2.MockTransport(lambda _: httpx2.Response(200, content=data, headers=headers))


def openai_client(data: bytes) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(transport=_canned(data))
    return openai.OpenAI(api_key="k", base_url="http://node/v1", max_retries=0, http_client=http)


def anthropic_client(data: bytes) -> anthropic.Anthropic:
    http = anthropic.DefaultHttpxClient(transport=_canned(data))
    return anthropic.Anthropic(api_key="k", base_url="http://node", max_retries=0, http_client=http)


def _openai_stream(data: bytes) -> Seen:
    seen = Seen()
    calls: dict[int, list[str]] = {}
    stream = openai_client(data).chat.completions.create(
        model="m", messages=[], stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        strictly(openai_chat.ChatCompletionChunk, chunk.model_dump(exclude_unset=True))
        if chunk.usage:
            seen.prompt_tokens, seen.completion_tokens = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        for choice in chunk.choices:
            seen.text += choice.delta.content or ""
            seen.reasoning += getattr(choice.delta, "reasoning_content", "") or ""
            seen.finish = choice.finish_reason or seen.finish
            for call in choice.delta.tool_calls or ():
                if call.id:
                    calls[call.index] = [call.function.name, ""]
                calls[call.index][1] += call.function.arguments or ""
    seen.calls = [(name, json.loads(arguments)) for name, arguments in calls.values()]
    assert data.count(b"data: [DONE]\n\n") == 1
    assert data.endswith(b"data: [DONE]\n\n")
    return seen


def _anthropic_stream(data: bytes) -> Seen:
    with anthropic_client(data).messages.stream(model="m", max_tokens=9, messages=[]) as stream:
        message = stream.get_final_message()
    return _anthropic_message(strictly(anthropic.types.Message, message.model_dump(exclude_unset=True)))


def _ollama_stream(data: bytes) -> Seen:
    return _ollama_message([ollama.ChatResponse.model_validate_json(line) for line in data.splitlines()])


def see_stream(dialect: Dialect, data: bytes) -> Seen:
    """A whole stream, read by the client's own decoder."""
    read: dict[Dialect, Callable[[bytes], Seen]] = {
        Dialect.OPENAI: _openai_stream,
        Dialect.ANTHROPIC: _anthropic_stream,
        Dialect.OLLAMA: _ollama_stream,
    }
    return read[dialect](data)


def responses_events(data: bytes) -> list[Any]:
    """Events of the Responses API, each validated strictly."""
    events = list(openai_client(data).responses.create(model="m", input="x", stream=True))
    for event in events:
        strictly(openai_responses.ResponseStreamEvent, event.model_dump(exclude_unset=True, by_alias=True))
    return events
