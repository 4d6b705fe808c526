"""POST /v1/chat/completions: the complete answer, read and written."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects.conversation import Answer, Envelope, Timings, ToolCall
from orchestrator.domain.dialects.usage import openai_usage, openai_usage_body
from orchestrator.domain.errors import MalformedAnswer

FINISH = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def read(body: dict[str, Any], request_id: str) -> Answer:
    choice = first_choice(body)
    message = choice["message"]
    usage = body.get("usage")
    logprobs = choice.get("logprobs")
    calls = message.get("tool_calls")
    stopped_by = choice.get("stop_reason")  # vLLM names the stop string here
    return Answer(
        text=message.get("content") or message.get("refusal") or "",
        reasoning=message.get("reasoning_content") or message.get("reasoning") or "",
        tool_calls=_read_calls(calls, request_id) if calls else (),
        finish=FINISH.get(choice.get("finish_reason") or "stop", "stop"),
        stop_sequence=stopped_by if isinstance(stopped_by, str) else None,
        usage=openai_usage(usage) if usage else None,
        logprobs=logprobs.get("content") if logprobs else None,
        timings=read_timings(body.get("timings")),
    )


def first_choice(body: dict[str, Any]) -> Any:
    choices = body.get("choices")
    if not choices:
        raise MalformedAnswer("the node's answer has no choices")
    return choices[0]


def read_timings(timings: Any) -> Timings | None:
    """llama.cpp's `timings`, in milliseconds there."""
    if not isinstance(timings, dict):
        return None
    return Timings(
        prompt=int((timings.get("prompt_ms") or 0) * 1e6),
        completion=int((timings.get("predicted_ms") or 0) * 1e6),
    )


def _read_calls(calls: list[Any], request_id: str) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(
            call.get("id") or f"call_{request_id}_{i}",
            call["function"]["name"],
            call["function"].get("arguments") or "",
        )
        for i, call in enumerate(calls)
    )


def write(answer: Answer, envelope: Envelope) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    finish = answer.finish
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["content"] = answer.text or None
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_text()}}
            for call in answer.tool_calls
        ]
        if finish == "stop":
            finish = "tool_calls"
    body: dict[str, Any] = {
        "id": f"chatcmpl-{envelope.request_id}",
        "object": "chat.completion",
        "created": int(envelope.now),
        "model": envelope.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": {"content": answer.logprobs, "refusal": None} if answer.logprobs else None,
                "finish_reason": finish,
            }
        ],
    }
    if answer.usage is not None:
        body["usage"] = openai_usage_body(answer.usage)
    return body
