"""POST /v1/responses: the complete answer, written."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects.conversation import Answer, Envelope
from orchestrator.domain.dialects.usage import Usage, responses_usage_body

_ECHOED = ("instructions", "temperature", "top_p", "max_output_tokens", "reasoning", "metadata", "user")
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


def shell(envelope: Envelope, status: str, output: list[Any], usage: Usage | None = None) -> dict[str, Any]:
    """The response object around `output`, with what the client asked for repeated as the dialect does."""
    asked = envelope.body
    parallel = asked.get("parallel_tool_calls")
    body: dict[str, Any] = {
        "id": f"resp_{envelope.request_id}",
        "object": "response",
        "created_at": int(envelope.now),
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": envelope.model,
        "output": output,
        "parallel_tool_calls": True if parallel is None else parallel,
        "previous_response_id": None,
        "store": False,
        "tool_choice": asked.get("tool_choice") or "auto",
        "tools": [{"strict": None, "parameters": None, **tool} for tool in asked.get("tools") or ()],
        "text": asked.get("text") or {"format": {"type": "text"}},
        "truncation": "disabled",
        "usage": responses_usage_body(usage) if usage is not None else None,
    }
    for name in _ECHOED:
        body[name] = asked.get(name)
    return body


def finished(envelope: Envelope, finish: str, output: list[Any], usage: Usage | None) -> dict[str, Any]:
    """The response object at its end: completed, or incomplete with the reason."""
    reason = _REASONS.get(finish)
    body = shell(envelope, "incomplete" if reason else "completed", output, usage)
    if reason:
        body["incomplete_details"] = {"reason": reason}
    return body


def reasoning_item(item_id: str, text: str | None) -> dict[str, Any]:
    """`text` None: begun, without any yet."""
    content = [] if text is None else [{"type": "reasoning_text", "text": text}]
    status = "in_progress" if text is None else "completed"
    return {"id": item_id, "type": "reasoning", "summary": [], "content": content, "status": status}


def text_part(text: str, logprobs: list[Any] | None = None) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or []}


def message_item(item_id: str, part: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": item_id,
        "type": "message",
        "role": "assistant",
        "status": "in_progress" if part is None else "completed",
        "content": [] if part is None else [part],
    }


def call_item(item_id: str, call_id: str, name: str, arguments: str | None) -> dict[str, Any]:
    return {
        "id": item_id,
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments or "",
        "status": "in_progress" if arguments is None else "completed",
    }


def token_logprobs(logprobs: list[Any] | None) -> list[dict[str, Any]]:
    """Chat's tokens with the lists that this endpoint requires to be there."""
    return [
        {
            "token": token["token"],
            "logprob": token["logprob"],
            "bytes": token.get("bytes") or [],
            "top_logprobs": [
                {"token": other["token"], "logprob": other["logprob"], "bytes": other.get("bytes") or []}
                for other in token.get("top_logprobs") or ()
            ],
        }
        for token in logprobs or ()
    ]


def write(answer: Answer, envelope: Envelope) -> dict[str, Any]:
    output: list[dict[str, Any]] = []
    rid = envelope.request_id
    if answer.reasoning:
        output.append(reasoning_item(f"rs_{rid}_{len(output)}", answer.reasoning))
    if answer.text or not answer.tool_calls:
        part = text_part(answer.text, token_logprobs(answer.logprobs))
        output.append(message_item(f"msg_{rid}_{len(output)}", part))
    for call in answer.tool_calls:
        output.append(call_item(f"fc_{rid}_{len(output)}", call.id, call.name, call.arguments_text()))
    return finished(envelope, answer.finish, output, answer.usage)
