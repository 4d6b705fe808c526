"""POST /v1/responses: the request, read. It always goes to a node as a chat."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects import images, sampling, thinking
from orchestrator.domain.dialects.checks import as_list, as_object, as_text, unsupported
from orchestrator.domain.dialects.conversation import (
    Conversation,
    Image,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from orchestrator.domain.dialects.openai.tools import function, json_schema, read_choice
from orchestrator.domain.errors import InvalidRequest

_STATEFUL = ("previous_response_id", "conversation", "background", "prompt")
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def read(body: dict[str, Any]) -> Conversation:
    """Raises `InvalidRequest` or `Unsupported`, naming the field."""
    for field in _STATEFUL:
        if body.get(field):
            raise unsupported(field, "this gateway keeps no responses; send the whole input")
    params = sampling.read(sampling.RESPONSES, body)
    include = body.get("include") or ()
    if params.get("top_logprobs") or "message.output_text.logprobs" in include:
        params["logprobs"] = True
    instructions = body.get("instructions")
    head = [Message("system", as_text(instructions, "instructions"))] if instructions else []
    reasoning = as_object(body.get("reasoning") or {}, "reasoning")
    return Conversation(
        model=body["model"],
        messages=(*head, *_Input().read(body.get("input"))),
        stream=bool(body.get("stream")),
        sampling=params,
        tools=_tools(body.get("tools")),
        choice=read_choice(body.get("tool_choice"), body.get("parallel_tool_calls")),
        output=_output(as_object(body.get("text") or {}, "text").get("format")),
        thinking=thinking.from_effort(reasoning.get("effort"), "reasoning.effort"),
        user=body.get("safety_identifier") or body.get("user") or "",
    )


def _tools(value: Any) -> tuple[Tool, ...]:
    tools = []
    for i, item in enumerate(as_list(value or [], "tools")):
        kind = as_object(item, f"tools[{i}]").get("type")
        if kind != "function":
            raise unsupported(f"tools[{i}].type", f"tools of type {kind!r} are not available here")
        tools.append(function(item, f"tools[{i}]"))
    return tuple(tools)


def _output(value: Any) -> OutputFormat | None:
    if value is None:
        return None
    value = as_object(value, "text.format")
    kind = value.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return OutputFormat()
    if kind == "json_schema":
        return json_schema(value, "text.format")
    raise InvalidRequest(
        "'text.format.type' must be text, json_object or json_schema", details={"param": "text.format.type"}
    )


class _Input:
    """Folds input items into messages: one turn's reasoning, text and calls are separate items there."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.turn: list[Part] = []  # of the assistant, still open
        self.names: dict[str, str] = {}

    def read(self, value: Any) -> list[Message]:
        if isinstance(value, str):
            return [Message("user", value)]
        for i, item in enumerate(as_list(value, "input")):
            self._item(as_object(item, f"input[{i}]"), f"input[{i}]")
        self._close()
        return self.messages

    def _close(self) -> None:
        if self.turn:
            self.messages.append(Message("assistant", tuple(self.turn)))
            self.turn = []

    def _item(self, item: dict[str, Any], where: str) -> None:
        kind = item.get("type") or "message"
        if kind == "message":
            self._message(item, where)
        elif kind == "function_call":
            call_id = as_text(item.get("call_id"), f"{where}.call_id")
            name = as_text(item.get("name"), f"{where}.name")
            self.names[call_id] = name
            arguments = as_text(item.get("arguments") or "", f"{where}.arguments")
            self.turn.append(ToolCall(call_id, name, arguments, f"{where}.arguments"))
        elif kind == "function_call_output":
            self._close()
            self.messages.append(Message("tool", (self._result(item, where),)))
        elif kind == "reasoning":
            pieces = item.get("content") or item.get("summary") or []
            text = "\n".join(as_text(piece.get("text"), f"{where}.summary") for piece in pieces)
            if text:
                self.turn.append(Reasoning(text))
        else:
            raise unsupported(f"{where}.type", f"input of type {kind!r} is not available here")

    def _message(self, item: dict[str, Any], where: str) -> None:
        role = _ROLES.get(item.get("role", ""))
        if role is None:
            raise InvalidRequest(f"'{where}.role' is not known", details={"param": f"{where}.role"})
        content = item.get("content")
        parts = (Text(content),) if isinstance(content, str) else _parts(content, f"{where}.content")
        if role == "assistant":
            self.turn.extend(parts)
            return
        self._close()
        self.messages.append(Message(role, content if isinstance(content, str) else parts))

    def _result(self, item: dict[str, Any], where: str) -> ToolResult:
        call_id = as_text(item.get("call_id"), f"{where}.call_id")
        output = item.get("output")
        if isinstance(output, str):
            return ToolResult(call_id, self.names.get(call_id, ""), output)
        parts = _parts(output, f"{where}.output")
        text = "\n".join(part.text for part in parts if isinstance(part, Text))
        pictures = tuple(part for part in parts if isinstance(part, Image))
        return ToolResult(call_id, self.names.get(call_id, ""), text, pictures)


def _parts(content: Any, where: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    for k, item in enumerate(as_list(content, where)):
        here = f"{where}[{k}]"
        kind = as_object(item, here).get("type")
        if kind in ("input_text", "output_text", "text"):
            parts.append(Text(as_text(item.get("text"), f"{here}.text")))
        elif kind == "refusal":
            parts.append(Text(as_text(item.get("refusal"), f"{here}.refusal")))
        elif kind == "input_image" and item.get("image_url"):
            parts.append(images.from_url(item["image_url"], f"{here}.image_url", item.get("detail") or ""))
        else:
            raise unsupported(f"{here}.type", f"content of type {kind!r} is not available here")
    return tuple(parts)
