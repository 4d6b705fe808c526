"""POST /api/chat and /api/generate: the request, read."""

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
    Thinking,
    ToolCall,
    ToolResult,
)
from orchestrator.domain.dialects.openai.tools import read_tools
from orchestrator.domain.errors import InvalidRequest

_LOAD = "an empty request loads or unloads a model, which only a node that speaks ollama can do"


def read_chat(body: dict[str, Any]) -> Conversation:
    """Raises `InvalidRequest` or `Unsupported`, naming the field."""
    messages = as_list(body.get("messages") or [], "messages")
    if not messages:
        raise unsupported("messages", _LOAD)
    open_calls: list[tuple[str, str]] = []  # (id, name) of calls that have no result yet
    return _conversation(
        body,
        messages=tuple([_message(message, i, open_calls) for i, message in enumerate(messages)]),
        tools=read_tools(body.get("tools")),
    )


def read_generate(body: dict[str, Any]) -> Conversation:
    """A chat turn, or a verbatim prompt when it is raw or has a suffix."""
    for field in ("context", "template", "width", "height", "steps"):
        if body.get(field):
            raise unsupported(field, "works only on a node that speaks ollama")
    prompt = as_text(body.get("prompt") or "", "prompt")
    suffix = as_text(body.get("suffix") or "", "suffix")
    pictures = _images(body.get("images"), "images")
    if not prompt and not suffix and not pictures:
        raise unsupported("prompt", _LOAD)
    if body.get("raw") or suffix:
        if pictures:
            raise unsupported("images", "a raw prompt takes no images on a node of another dialect")
        return _conversation(body, messages=(), prompt=prompt, suffix=suffix)
    system = body.get("system")
    turn = Message("user", (Text(prompt), *pictures) if pictures else prompt)
    messages = (Message("system", as_text(system, "system")), turn) if system else (turn,)
    return _conversation(body, messages=messages)


def _conversation(body: dict[str, Any], messages: tuple[Message, ...], **fields: Any) -> Conversation:
    options = body.get("options")
    params: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    if options:
        params, rest = sampling.read_options(as_object(options, "options"))
        if params.get("max_tokens", 1) <= 0:  # -1 and -2: as many as it takes, which others say by silence
            del params["max_tokens"]
    for name in sampling.OLLAMA_TOP_LEVEL:
        if body.get(name) is not None:
            params[name] = body[name]
    return Conversation(
        model=body["model"],
        messages=messages,
        stream=body.get("stream") is not False,
        sampling=params,
        output=_output(body.get("format")),
        thinking=_thinking(body.get("think")),
        options=rest,
        keep_alive=body.get("keep_alive"),
        **fields,
    )


def _output(value: Any) -> OutputFormat | None:
    if not value:
        return None
    if value == "json":
        return OutputFormat()
    if isinstance(value, dict):
        return OutputFormat(schema=value)
    raise InvalidRequest("'format' must be json or a JSON schema", details={"param": "format"})


def _thinking(value: Any) -> Thinking | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return Thinking(enabled=value)
    return thinking.from_effort(value, "think")


def _images(value: Any, where: str) -> tuple[Image, ...]:
    if not value:
        return ()
    return tuple(images.from_base64(item, f"{where}[{k}]") for k, item in enumerate(as_list(value, where)))


def _message(message: Any, i: int, open_calls: list[tuple[str, str]]) -> Message:
    role = message.get("role") if isinstance(message, dict) else None
    content = message.get("content") if role else None
    if role in ("user", "assistant", "system") and isinstance(content, str) and len(message) == 2:
        return Message(role, content)
    where = f"messages[{i}]"
    if content is None:
        content = ""
    if role not in ("system", "user", "assistant", "tool") or not isinstance(content, str):
        field = "content" if not isinstance(content, str) else "role"
        raise InvalidRequest(f"'{where}.{field}' is not valid", details={"param": f"{where}.{field}"})
    if role == "tool":
        return _tool_message(message, content, where, open_calls)
    pictures = _images(message.get("images"), f"{where}.images")
    thought, calls = message.get("thinking"), message.get("tool_calls")
    if not pictures and not calls and not thought:
        return Message(role, content)
    parts: list[Part] = [Reasoning(as_text(thought, f"{where}.thinking"))] if thought else []
    if content:
        parts.append(Text(content))
    parts.extend(pictures)
    for k, call in enumerate(as_list(calls or [], f"{where}.tool_calls")):
        parts.append(_call(call, i, k, f"{where}.tool_calls[{k}].function", open_calls))
    return Message(role, tuple(parts))


def _call(call: Any, i: int, k: int, where: str, open_calls: list[tuple[str, str]]) -> ToolCall:
    function = as_object(as_object(call, where).get("function"), where)
    name = as_text(function.get("name"), f"{where}.name")
    # Older clients send calls without ids; the place in the conversation makes one that every turn repeats.
    call_id = call.get("id") or f"call_{i}_{k}"
    open_calls.append((call_id, name))
    arguments = function.get("arguments")
    return ToolCall(call_id, name, "" if arguments is None else arguments, f"{where}.arguments")


def _tool_message(message: dict[str, Any], content: str, where: str, open_calls: list[tuple[str, str]]) -> Message:
    """A result belongs to the call it names by id, else to the first open call of its tool, else to the first open."""
    call_id = message.get("tool_call_id") or ""
    name = message.get("tool_name") or message.get("name") or ""
    match = next((call for call in open_calls if call[0] == call_id), None)
    if match is None and not call_id:
        match = next((call for call in open_calls if call[1] == name), None)
        if match is None and open_calls and not name:
            match = open_calls[0]
    if match is not None:
        open_calls.remove(match)
        call_id, name = match[0], name or match[1]
    if not call_id:
        raise InvalidRequest(f"'{where}' answers no tool call", details={"param": where})
    return Message("tool", (ToolResult(call_id, name, content, _images(message.get("images"), f"{where}.images")),))
