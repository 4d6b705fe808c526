"""POST /api/chat and /api/generate: the request, written."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects import images, sampling, thinking
from orchestrator.domain.dialects.checks import unsupported
from orchestrator.domain.dialects.conversation import (
    Conversation,
    Image,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from orchestrator.domain.dialects.openai.tools import write_tools


def write_chat(conversation: Conversation) -> tuple[dict[str, Any], list[str]]:
    """The body, and the names of what it could not carry."""
    body: dict[str, Any] = {
        "model": conversation.model,
        "messages": [_message(message) for message in conversation.messages],
    }
    dropped = _common(conversation, body)
    tools, choice = conversation.tools, conversation.choice
    if tools and choice is not None:
        if choice.mode == "none":
            tools = ()
        elif choice.mode == "tool":
            # Ollama cannot be made to call a tool; offering only that one is as near as it gets.
            tools = tuple(tool for tool in tools if tool.name == choice.name)
        if choice.mode in ("required", "tool"):
            dropped.append("tool_choice")
        if choice.parallel is False:
            dropped.append("parallel_tool_calls")
    if tools:
        body["tools"] = write_tools(tools)
    return body, dropped


def write_generate(conversation: Conversation) -> tuple[dict[str, Any], list[str]]:
    """A verbatim prompt. With a suffix the model's own fill-in template must apply, so it is not raw then."""
    if conversation.echo:
        raise unsupported("echo", "not available on a node that speaks ollama")
    body: dict[str, Any] = {"model": conversation.model, "prompt": conversation.prompt}
    if conversation.suffix:
        body["suffix"] = conversation.suffix
    else:
        body["raw"] = True
    return body, _common(conversation, body)


def _common(conversation: Conversation, body: dict[str, Any]) -> list[str]:
    body["stream"] = conversation.stream
    dropped: list[str] = []
    options: dict[str, Any] = dict(conversation.options)
    for name, value in conversation.sampling.items():
        wire = sampling.OLLAMA_OUT.get(name)
        if wire is not None:
            options[wire] = value
        elif name in sampling.OLLAMA_TOP_LEVEL:
            body[name] = value
        elif value:
            raise unsupported(name, "not available on a node that speaks ollama")
    if options:
        body["options"] = options
    if conversation.output is not None:
        body["format"] = "json" if conversation.output.schema is None else conversation.output.schema
    if conversation.thinking is not None:
        body["think"] = thinking.ollama_think(conversation.thinking)
    if conversation.keep_alive is not None:
        body["keep_alive"] = conversation.keep_alive
    if conversation.user:
        dropped.append("user")
    return dropped


def _message(message: Message) -> dict[str, Any]:
    if isinstance(message.content, str):
        return {"role": message.role, "content": message.content}
    out: dict[str, Any] = {"role": message.role, "content": ""}
    texts: list[str] = []
    for part in message.content:
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, Image):
            out.setdefault("images", []).append(images.to_base64(part))
        elif isinstance(part, Reasoning):
            out["thinking"] = out.get("thinking", "") + part.text
        elif isinstance(part, ToolCall):
            _add_call(out.setdefault("tool_calls", []), part)
        else:
            _add_result(out, part)
            texts.append(part.content)
    out["content"] = "\n".join(texts)
    return out


def _add_call(calls: list[dict[str, Any]], call: ToolCall) -> None:
    function = {"index": len(calls), "name": call.name, "arguments": call.arguments_object()}
    calls.append({"id": call.id, "function": function})


def _add_result(out: dict[str, Any], result: ToolResult) -> None:
    out["tool_call_id"] = result.call_id
    if result.name:
        out["tool_name"] = result.name
    if result.images:
        out["images"] = [images.to_base64(image) for image in result.images]
