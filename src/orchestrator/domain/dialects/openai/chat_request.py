"""POST /v1/chat/completions: the request, read and written."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects import images, sampling, thinking
from orchestrator.domain.dialects.checks import as_list, as_object, as_text, unsupported
from orchestrator.domain.dialects.conversation import (
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from orchestrator.domain.dialects.openai.tools import (
    read_choice,
    read_output,
    read_tools,
    write_output,
    write_tools,
)
from orchestrator.domain.errors import InvalidRequest

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_REFUSED = ("audio", "functions", "function_call", "web_search_options")


def read(body: dict[str, Any]) -> Conversation:
    """Raises `InvalidRequest` or `Unsupported`, naming the field."""
    for field in _REFUSED:
        if body.get(field):
            raise unsupported(field, "not available on a node of another dialect")
    refuse_many(body, "n")
    params = sampling.read(sampling.OPENAI, body)
    if body.get("max_completion_tokens") is not None:
        params["max_tokens"] = body["max_completion_tokens"]
    names: dict[str, str] = {}
    options = body.get("options")
    rest: dict[str, Any] = {}
    if options:
        theirs, rest = sampling.read_options(as_object(options, "options"))
        params = theirs | params
    return Conversation(
        model=body["model"],
        messages=tuple([_message(m, i, names) for i, m in enumerate(as_list(body.get("messages"), "messages"))]),
        stream=bool(body.get("stream")),
        sampling=params,
        tools=read_tools(body.get("tools")),
        choice=read_choice(body.get("tool_choice"), body.get("parallel_tool_calls")),
        output=read_output(body.get("response_format")),
        thinking=_thinking(body),
        options=rest,
        keep_alive=body.get("keep_alive"),
        user=body.get("user") or "",
    )


def wants_usage(body: Any) -> bool:
    options = body.get("stream_options")
    return bool(options and options.get("include_usage"))


def refuse_many(body: dict[str, Any], field: str) -> None:
    """One answer per request is all that the other dialects can give."""
    if body.get(field) not in (None, 1):
        raise unsupported(field, "only 1 is available on a node of another dialect")


def _thinking(body: dict[str, Any]) -> Thinking | None:
    found = thinking.from_effort(body.get("reasoning_effort"), "reasoning_effort")
    if found is None:
        template = body.get("chat_template_kwargs")
        if template and isinstance(template.get("enable_thinking"), bool):
            return Thinking(template["enable_thinking"])
    return found


def _message(message: Any, i: int, names: dict[str, str]) -> Message:
    try:
        role = message["role"]
        content = message.get("content")
    except (TypeError, KeyError, AttributeError):
        raise InvalidRequest(f"'messages[{i}].role' is required", details={"param": f"messages[{i}]"}) from None
    if role == "tool":
        return _tool_message(message, i, names)
    canonical = _ROLES.get(role)
    if canonical is None:
        raise InvalidRequest(f"'messages[{i}].role' {role!r} is not known", details={"param": f"messages[{i}].role"})
    if canonical == "assistant":
        return _assistant(message, i, names)
    if isinstance(content, str):
        return Message(canonical, content)
    return Message(canonical, _parts(content, f"messages[{i}].content"))


def _assistant(message: dict[str, Any], i: int, names: dict[str, str]) -> Message:
    content = message.get("content")
    calls = message.get("tool_calls")
    thought = message.get("reasoning_content") or message.get("reasoning")
    if not calls and not thought and isinstance(content, str):
        return Message("assistant", content)
    parts: list[Part] = []
    if isinstance(thought, str) and thought:
        parts.append(Reasoning(thought))
    if content:
        where = f"messages[{i}].content"
        parts.extend((Text(content),) if isinstance(content, str) else _parts(content, where))
    if message.get("refusal"):
        parts.append(Text(as_text(message["refusal"], f"messages[{i}].refusal")))
    for k, call in enumerate(as_list(calls or [], f"messages[{i}].tool_calls")):
        where = f"messages[{i}].tool_calls[{k}].function"
        spec = as_object(as_object(call, where).get("function"), where)
        name = as_text(spec.get("name"), f"{where}.name")
        call_id = call.get("id") or f"call_{i}_{k}"
        names[call_id] = name
        arguments = spec.get("arguments")
        parts.append(ToolCall(call_id, name, "" if arguments is None else arguments, f"{where}.arguments"))
    return Message("assistant", tuple(parts))


def _tool_message(message: dict[str, Any], i: int, names: dict[str, str]) -> Message:
    call_id = as_text(message.get("tool_call_id"), f"messages[{i}].tool_call_id")
    content = message.get("content")
    text = content if isinstance(content, str) else ""
    pictures: tuple[Image, ...] = ()
    if not isinstance(content, str):
        parts = _parts(content, f"messages[{i}].content")
        text = "\n".join(part.text for part in parts if isinstance(part, Text))
        pictures = tuple(part for part in parts if isinstance(part, Image))
    name = names.get(call_id) or message.get("name") or ""
    return Message("tool", (ToolResult(call_id, name, text, pictures),))


def _parts(content: Any, where: str) -> tuple[Part, ...]:
    if content is None:
        return ()
    parts: list[Part] = []
    for k, item in enumerate(as_list(content, where)):
        here = f"{where}[{k}]"
        kind = as_object(item, here).get("type")
        if kind == "text":
            parts.append(Text(as_text(item.get("text"), f"{here}.text")))
        elif kind == "image_url":
            value = item.get("image_url")
            url, detail = (value.get("url"), value.get("detail") or "") if isinstance(value, dict) else (value, "")
            parts.append(images.from_url(url, f"{here}.image_url.url", detail))
        elif kind == "refusal":
            parts.append(Text(as_text(item.get("refusal"), f"{here}.refusal")))
        else:
            raise unsupported(f"{here}.type", f"content of type {kind!r} works only on a node of its own dialect")
    return tuple(parts)


def write(conversation: Conversation) -> tuple[dict[str, Any], list[str]]:
    """The body, and the names of what it could not carry."""
    body: dict[str, Any] = {"model": conversation.model, "messages": _write_messages(conversation.messages)}
    write_sampling(conversation.sampling, body)
    if conversation.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    if conversation.tools:
        body["tools"] = write_tools(conversation.tools)
        choice = conversation.choice
        if choice is not None:
            body["tool_choice"] = (
                {"type": "function", "function": {"name": choice.name}} if choice.mode == "tool" else choice.mode
            )
            if choice.parallel is not None:
                body["parallel_tool_calls"] = choice.parallel
    if conversation.output is not None:
        body["response_format"] = write_output(conversation.output)
    if conversation.thinking is not None:
        body["reasoning_effort"] = thinking.effort_of(conversation.thinking)
    if conversation.user:
        body["user"] = conversation.user
    dropped = [f"options.{name}" for name in conversation.options]
    if conversation.keep_alive is not None:
        dropped.append("keep_alive")
    return body, dropped


def write_sampling(params: Any, body: dict[str, Any]) -> None:
    for name, value in params.items():
        for wire in sampling.OPENAI_OUT[name]:
            body[wire] = value


def _write_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    pictures: list[Image] = []  # of tool results: a tool message holds text only, so they follow as the user's
    for message in messages:
        if message.role == "tool":
            for result in message.content:
                if isinstance(result, ToolResult):
                    out.append({"role": "tool", "tool_call_id": result.call_id, "content": result.content})
                    pictures.extend(result.images)
            continue
        if pictures:
            out.append({"role": "user", "content": [_write_image(image) for image in pictures]})
            pictures = []
        if isinstance(message.content, str):
            out.append({"role": message.role, "content": message.content})
        elif message.role == "assistant":
            out.append(_write_assistant(message.content))
        else:
            out.append({"role": message.role, "content": _write_parts(message.content)})
    if pictures:
        out.append({"role": "user", "content": [_write_image(image) for image in pictures]})
    return out


def _write_assistant(parts: tuple[Part, ...]) -> dict[str, Any]:
    text = "".join(part.text for part in parts if isinstance(part, Text))
    calls = [part for part in parts if isinstance(part, ToolCall)]
    thought = "".join(part.text for part in parts if isinstance(part, Reasoning))
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_text()}}
            for call in calls
        ]
    return message


def _write_parts(parts: tuple[Part, ...]) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, Text))
    return [
        _write_image(part) if isinstance(part, Image) else {"type": "text", "text": part.text}
        for part in parts
        if isinstance(part, Image | Text)
    ]


def _write_image(image: Image) -> dict[str, Any]:
    url = {"url": images.to_url(image)}
    if image.detail:
        url["detail"] = image.detail
    return {"type": "image_url", "image_url": url}
