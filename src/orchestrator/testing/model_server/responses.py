"""OpenAI's `POST /v1/responses`: text and function calls."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest
from orchestrator.testing.model_server.answer import Answer, Tool, Turn, compose, count_tokens
from orchestrator.testing.model_server.content import content_text
from orchestrator.testing.model_server.exchange import Exchange, Spoken
from orchestrator.testing.model_server.plan import Frame, Plan, Stream, Whole

_encode = msgspec.json.encode


def respond(exchange: Exchange) -> Plan:
    """`POST /v1/responses`"""
    answer = _answer(exchange)
    if exchange.body.get("stream"):
        return _stream(exchange, answer)
    return Whole(_encode(_response(exchange, answer, _items(exchange, answer))), tokens=answer.completion_tokens)


def _spoken(value: Any) -> Spoken:
    if isinstance(value, str):
        return Spoken(value, count_tokens(value))
    if not isinstance(value, list) or not value:
        raise InvalidRequest("'input' must be a string or a list that is not empty")
    text, by_user, tokens = "", True, 0
    for item in value:
        if not isinstance(item, dict):
            raise InvalidRequest("every item of 'input' must be an object")
        if item.get("type") == "function_call_output":
            text, by_user = content_text(item.get("output")), False
        else:
            text, by_user = content_text(item.get("content")), item.get("role") == "user"
        tokens += count_tokens(text)
    return Spoken(text, tokens, by_user)


def _answer(exchange: Exchange) -> Answer:
    body = exchange.body
    said = _spoken(body.get("input"))
    choice = body.get("tool_choice")
    tools = [tool for tool in body.get("tools") or [] if tool.get("type") == "function"]
    form = (body.get("text") or {}).get("format") or {}
    schema = {"json_schema": form.get("schema") or {}, "json_object": {}}.get(str(form.get("type")))
    forced = str(choice.get("name", "")) if isinstance(choice, dict) else "" if choice == "required" else None
    turn = Turn(
        said.text,
        said.tokens + count_tokens(str(body.get("instructions") or "")),
        said.by_user,
        limit=exchange.whole_number("max_output_tokens"),
        tools=() if choice == "none" else tuple(Tool(t["name"], t.get("parameters") or {}) for t in tools),
        forced=forced,
        schema=schema,
        think=False,
    )
    return compose(turn, exchange.style)


def _items(exchange: Exchange, answer: Answer) -> list[dict[str, Any]]:
    if answer.calls:
        return [
            {
                "type": "function_call",
                "id": f"fc_{exchange.number:08x}_{index}",
                "call_id": f"call_{exchange.number:08x}_{index}",
                "name": call.name,
                "arguments": "".join(call.pieces),
                "status": "completed",
            }
            for index, call in enumerate(answer.calls)
        ]
    part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    identity = {"type": "message", "id": f"msg_{exchange.number:08x}", "role": "assistant"}
    return [{**identity, "status": "completed", "content": [part]}]


def _response(exchange: Exchange, answer: Answer, items: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The response object; `items=None` is the one that has just begun."""
    body: dict[str, Any] = {
        "id": f"resp_{exchange.number:08x}",
        "object": "response",
        "created_at": exchange.created,
        "model": exchange.model,
        "status": "in_progress",
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": exchange.body.get("instructions"),
        "metadata": exchange.body.get("metadata") or {},
        "parallel_tool_calls": True,
        "temperature": exchange.body.get("temperature"),
        "tool_choice": exchange.body.get("tool_choice") or "auto",
        "tools": exchange.body.get("tools") or [],
        "top_p": exchange.body.get("top_p"),
        "usage": None,
    }
    if items is None:
        return body
    cut_short = answer.finish == "length"
    body["status"] = "incomplete" if cut_short else "completed"
    body["incomplete_details"] = {"reason": "max_output_tokens"} if cut_short else None
    body["output"] = items
    if exchange.style.usage:
        body["usage"] = {
            "input_tokens": answer.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": answer.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        }
    return body


def _stream(exchange: Exchange, answer: Answer) -> Stream:
    frames: list[Frame] = []

    def event(kind: str, *, token: bool = False, **fields: Any) -> None:
        data = _encode({"type": kind, "sequence_number": len(frames), **fields})
        frames.append(Frame(b"event: %b\ndata: %b\n\n" % (kind.encode(), data), token))

    items = _items(exchange, answer)
    event("response.created", response=_response(exchange, answer, None))
    event("response.in_progress", response=_response(exchange, answer, None))
    for index, item in enumerate(items):
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, "status": "in_progress"}
        if answer.calls:
            event("response.output_item.added", output_index=index, item={**begun, "arguments": ""})
            for piece in answer.calls[index].pieces:
                event("response.function_call_arguments.delta", token=True, **place, delta=piece)
            event("response.function_call_arguments.done", **place, name=item["name"], arguments=item["arguments"])
        else:
            part = item["content"][0]
            event("response.output_item.added", output_index=index, item={**begun, "content": []})
            place["content_index"] = 0
            event("response.content_part.added", **place, part={**part, "text": ""})
            for piece in answer.tokens:
                event("response.output_text.delta", token=True, **place, delta=piece, logprobs=[])
            event("response.output_text.done", **place, text=answer.text, logprobs=[])
            event("response.content_part.done", **place, part=part)
        event("response.output_item.done", output_index=index, item=item)
    ending = "response.incomplete" if answer.finish == "length" else "response.completed"
    event(ending, response=_response(exchange, answer, items))
    return Stream(frames)
