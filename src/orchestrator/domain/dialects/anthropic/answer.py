"""POST /v1/messages: the complete answer, read and written."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects.anthropic.request_write import JSON_TOOL
from orchestrator.domain.dialects.conversation import Answer, Envelope, ToolCall
from orchestrator.domain.dialects.usage import anthropic_usage, anthropic_usage_body
from orchestrator.domain.errors import MalformedAnswer

FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
STOP_REASON = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def read(body: dict[str, Any], request_id: str, json_tool: bool = False) -> Answer:
    """With `json_tool`, the input of `JSON_TOOL` is the answer's text."""
    content = body.get("content")
    if not isinstance(content, list):
        raise MalformedAnswer("the node's answer has no content")
    text, reasoning, signature = "", "", ""
    calls: list[ToolCall] = []
    for block in content:
        kind = block["type"]
        if kind == "text":
            text += block["text"]
        elif kind == "thinking":
            reasoning += block["thinking"]
            signature = block.get("signature") or signature
        elif kind == "tool_use":
            call_id = block.get("id") or f"call_{request_id}_{len(calls)}"
            calls.append(ToolCall(call_id, block["name"], block.get("input") or {}))
    finish = FINISH.get(body.get("stop_reason") or "end_turn", "stop")
    if json_tool:
        answered = [call for call in calls if call.name == JSON_TOOL]
        calls = [call for call in calls if call.name != JSON_TOOL]
        if answered:
            text = answered[0].arguments_text()
            finish = finish if calls or finish != "tool_calls" else "stop"
    usage = body.get("usage")
    return Answer(
        text=text,
        reasoning=reasoning,
        signature=signature,
        tool_calls=tuple(calls),
        finish=finish,
        stop_sequence=body.get("stop_sequence"),
        usage=anthropic_usage(usage) if usage else None,
    )


def stop_reason(finish: str, stop_sequence: str | None, tools: bool) -> str:
    if tools and finish == "stop":
        return "tool_use"
    if finish == "stop" and stop_sequence:
        return "stop_sequence"
    return STOP_REASON[finish]


def write(answer: Answer, envelope: Envelope) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if answer.reasoning:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": answer.signature})
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    for call in answer.whole_calls():
        content.append({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments_object()})
    return {
        "id": f"msg_{envelope.request_id}",
        "type": "message",
        "role": "assistant",
        "model": envelope.model,
        "content": content,
        "stop_reason": stop_reason(answer.finish, answer.stop_sequence, bool(answer.tool_calls)),
        "stop_sequence": answer.stop_sequence,
        "usage": anthropic_usage_body(answer.usage),
    }
