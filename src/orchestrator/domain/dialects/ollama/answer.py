"""POST /api/chat and /api/generate: the complete answer, read and written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.domain.dialects.conversation import Answer, Envelope, Timings, ToolCall
from orchestrator.domain.dialects.usage import Usage, ollama_usage
from orchestrator.domain.errors import MalformedAnswer

# `load` and `unload` come with no text; the others have no such word.
FINISH = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop"}


def read(body: dict[str, Any], request_id: str) -> Answer:
    """From either endpoint: chat has `message`, generate has `response`."""
    message = body.get("message")
    if message is None:
        if "response" not in body:
            raise MalformedAnswer("the node's answer has neither message nor response")
        text, reasoning, calls = body["response"], body.get("thinking"), None
    else:
        text, reasoning, calls = message.get("content"), message.get("thinking"), message.get("tool_calls")
    return Answer(
        text=text or "",
        reasoning=reasoning or "",
        tool_calls=read_calls(calls, request_id) if calls else (),
        finish="tool_calls" if calls else FINISH.get(body.get("done_reason") or "stop", "stop"),
        usage=ollama_usage(body),
        logprobs=body.get("logprobs"),
        timings=read_timings(body),
    )


def read_calls(calls: list[Any], request_id: str) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(
            call.get("id") or f"call_{request_id}_{i}",
            call["function"]["name"],
            call["function"].get("arguments") or {},
        )
        for i, call in enumerate(calls)
    )


def read_timings(body: dict[str, Any]) -> Timings | None:
    if "eval_duration" not in body:
        return None
    return Timings(
        int(body.get("load_duration") or 0),
        int(body.get("prompt_eval_duration") or 0),
        int(body.get("eval_duration") or 0),
    )


def created_at(now: float) -> str:
    """RFC 3339 in UTC, as Ollama writes it."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def measures(usage: Usage | None, timings: Timings | None, total: float) -> dict[str, int]:
    """The counts and durations of a final object; `total` is the seconds since the request came."""
    timings = timings or Timings(completion=int(total * 1e9))
    return {
        "total_duration": max(int(total * 1e9), timings.load + timings.prompt + timings.completion),
        "load_duration": timings.load,
        "prompt_eval_count": usage.prompt_tokens if usage is not None else 0,
        "prompt_eval_duration": timings.prompt,
        "eval_count": usage.completion_tokens if usage is not None else 0,
        "eval_duration": timings.completion,
    }


def write_chat(answer: Answer, envelope: Envelope, ended: float) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if answer.reasoning:
        message["thinking"] = answer.reasoning
    calls = answer.whole_calls()
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "function": {"index": i, "name": call.name, "arguments": call.arguments_object()}}
            for i, call in enumerate(calls)
        ]
    return _finish({"message": message}, answer, envelope, ended)


def write_generate(answer: Answer, envelope: Envelope, ended: float) -> dict[str, Any]:
    content: dict[str, Any] = {"response": answer.text}
    if answer.reasoning:
        content["thinking"] = answer.reasoning
    return _finish(content, answer, envelope, ended)


def _finish(content: dict[str, Any], answer: Answer, envelope: Envelope, ended: float) -> dict[str, Any]:
    body: dict[str, Any] = {"model": envelope.model, "created_at": created_at(ended), **content}
    if answer.logprobs:
        body["logprobs"] = answer.logprobs
    body["done"] = True
    body["done_reason"] = "length" if answer.finish == "length" else "stop"
    body.update(measures(answer.usage, answer.timings, max(ended - envelope.now, 0.0)))
    return body
