"""POST /v1/messages: the request, read."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects import sampling
from orchestrator.domain.dialects.checks import as_list, as_object, as_text, unsupported
from orchestrator.domain.dialects.conversation import (
    Conversation,
    Image,
    Message,
    OutputFormat,
    Part,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from orchestrator.domain.errors import InvalidRequest

_CHOICES = {"auto": "auto", "any": "required", "tool": "tool", "none": "none"}
_REFUSED = ("container", "mcp_servers", "context_management")


def read(body: dict[str, Any]) -> Conversation:
    """Raises `InvalidRequest` or `Unsupported`, naming the field."""
    for field in _REFUSED:
        if body.get(field):
            raise unsupported(field, "not available on a node of another dialect")
    messages: list[Message] = []
    system = body.get("system")
    if system:
        messages.append(Message("system", _system(system, "system")))
    names: dict[str, str] = {}
    for i, message in enumerate(as_list(body.get("messages"), "messages")):
        _message(message, i, names, messages)
    config = as_object(body.get("output_config") or {}, "output_config")
    return Conversation(
        model=body["model"],
        messages=tuple(messages),
        stream=bool(body.get("stream")),
        sampling=sampling.read(sampling.ANTHROPIC, body),
        tools=_tools(body.get("tools")),
        choice=_choice(body.get("tool_choice")),
        output=_output(config.get("format") or body.get("output_format")),
        thinking=_thinking(body.get("thinking"), config.get("effort")),
        user=(body.get("metadata") or {}).get("user_id") or "",
    )


def _system(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    return "\n\n".join(
        as_text(as_object(block, f"{where}[{i}]").get("text"), f"{where}[{i}].text")
        for i, block in enumerate(as_list(value, where))
    )


def _message(message: Any, i: int, names: dict[str, str], out: list[Message]) -> None:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("user", "assistant", "system"):
        where = f"messages[{i}]"
        raise InvalidRequest(f"'{where}.role' must be user, assistant or system", details={"param": f"{where}.role"})
    content = message.get("content")
    if isinstance(content, str):
        out.append(Message(role, content))
        return
    where = f"messages[{i}]"
    if role == "system":
        out.append(Message(role, _system(content, f"{where}.content")))
        return
    parts: list[Part] = []
    for k, block in enumerate(as_list(content, f"{where}.content")):
        here = f"{where}.content[{k}]"
        part = _block(as_object(block, here), here, names)
        if isinstance(part, ToolResult):
            out.append(Message("tool", (part,)))
        elif part is not None:
            parts.append(part)
    if parts:
        out.append(Message(role, tuple(parts)))


def _block(block: dict[str, Any], where: str, names: dict[str, str]) -> Part | None:
    kind = block.get("type")
    if kind == "text":
        return Text(as_text(block.get("text"), f"{where}.text"))
    if kind == "image":
        return _image(block, where)
    if kind == "tool_use":
        name = as_text(block.get("name"), f"{where}.name")
        call_id = as_text(block.get("id"), f"{where}.id")
        names[call_id] = name
        return ToolCall(call_id, name, as_object(block.get("input") or {}, f"{where}.input"), f"{where}.input")
    if kind == "tool_result":
        return _tool_result(block, where, names)
    if kind == "thinking":
        return Reasoning(as_text(block.get("thinking"), f"{where}.thinking"), block.get("signature") or "")
    if kind == "redacted_thinking":
        return None  # only the provider that wrote it can read it
    if kind == "document":
        return _document(block, where)
    raise unsupported(f"{where}.type", f"content of type {kind!r} works only on a node of its own dialect")


def _image(block: dict[str, Any], where: str) -> Image:
    source = as_object(block.get("source"), f"{where}.source")
    kind = source.get("type")
    if kind == "base64":
        data = as_text(source.get("data"), f"{where}.source.data")
        media_type = as_text(source.get("media_type"), f"{where}.source.media_type")
        return Image(data=data, media_type=media_type, where=f"{where}.source")
    if kind == "url":
        return Image(url=as_text(source.get("url"), f"{where}.source.url"), where=f"{where}.source.url")
    raise unsupported(f"{where}.source.type", f"an image from {kind!r} works only on a node of its own dialect")


def _document(block: dict[str, Any], where: str) -> Text:
    source = as_object(block.get("source"), f"{where}.source")
    if source.get("type") != "text":
        raise unsupported(f"{where}.source.type", "only text documents work on a node of another dialect")
    text = as_text(source.get("data"), f"{where}.source.data")
    return Text(f"{block['title']}\n\n{text}" if block.get("title") else text)


def _tool_result(block: dict[str, Any], where: str, names: dict[str, str]) -> ToolResult:
    call_id = as_text(block.get("tool_use_id"), f"{where}.tool_use_id")
    content = block.get("content") or ""
    text, pictures = content, []
    if not isinstance(content, str):
        texts: list[str] = []
        for k, item in enumerate(as_list(content, f"{where}.content")):
            here = f"{where}.content[{k}]"
            part = _block(as_object(item, here), here, names)
            if isinstance(part, Text):
                texts.append(part.text)
            elif isinstance(part, Image):
                pictures.append(part)
        text = "\n".join(texts)
    return ToolResult(call_id, names.get(call_id, ""), text, tuple(pictures), bool(block.get("is_error")))


def _tools(value: Any) -> tuple[Tool, ...]:
    if not value:
        return ()
    tools = []
    for i, item in enumerate(as_list(value, "tools")):
        where = f"tools[{i}]"
        kind = as_object(item, where).get("type")
        if kind not in (None, "custom"):
            raise unsupported(f"{where}.type", f"tools of type {kind!r} work only on a node of their own dialect")
        tools.append(
            Tool(
                name=as_text(item.get("name"), f"{where}.name"),
                description=item.get("description") or "",
                schema=as_object(item.get("input_schema"), f"{where}.input_schema"),
                strict=item.get("strict"),
            )
        )
    return tuple(tools)


def _choice(value: Any) -> ToolChoice | None:
    if value is None:
        return None
    value = as_object(value, "tool_choice")
    mode = _CHOICES.get(value.get("type", ""))
    if mode is None:
        raise InvalidRequest(
            "'tool_choice.type' must be auto, any, tool or none", details={"param": "tool_choice.type"}
        )
    name = as_text(value.get("name"), "tool_choice.name") if mode == "tool" else ""
    serial = value.get("disable_parallel_tool_use")
    return ToolChoice(mode, name, None if serial is None else not serial)


def _output(value: Any) -> OutputFormat | None:
    if value is None:
        return None
    value = as_object(value, "output_config.format")
    if value.get("type") != "json_schema":
        raise InvalidRequest(
            "'output_config.format.type' must be json_schema", details={"param": "output_config.format.type"}
        )
    return OutputFormat(schema=as_object(value.get("schema"), "output_config.format.schema"))


def _thinking(value: Any, effort: Any) -> Thinking | None:
    if value is None:
        return None
    kind = as_object(value, "thinking").get("type")
    if kind == "disabled":
        return Thinking(enabled=False)
    if kind == "enabled":
        budget = value.get("budget_tokens")
        if not isinstance(budget, int):
            raise InvalidRequest(
                "'thinking.budget_tokens' must be an integer", details={"param": "thinking.budget_tokens"}
            )
        return Thinking(enabled=True, effort=effort or "", budget=budget)
    if kind in ("adaptive", "between_tools"):
        return Thinking(enabled=True, effort=effort or "")
    raise InvalidRequest("'thinking.type' must be enabled, disabled or adaptive", details={"param": "thinking.type"})
