"""POST /v1/messages: the request, written."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects import sampling, thinking
from orchestrator.domain.dialects.checks import unsupported
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

# The dialect requires `max_tokens`; the others mean "as many as it takes" without one. All current models allow this.
DEFAULT_MAX_TOKENS = 8192

# The dialect has JSON for a schema only; "any JSON object" is asked for as the input of this tool, shown as text.
JSON_TOOL = "json_answer"
_JSON_TOOL_BODY = {
    "name": JSON_TOOL,
    "description": "Give the answer as one JSON object. Call this instead of answering in text.",
    "input_schema": {"type": "object", "additionalProperties": True},
}


def write(conversation: Conversation) -> tuple[dict[str, Any], list[str]]:
    """The body, and the names of what it could not carry. Raises `Unsupported` for what changes the answer's form."""
    body: dict[str, Any] = {"model": conversation.model, "max_tokens": DEFAULT_MAX_TOKENS}
    dropped = _write_sampling(conversation.sampling, body)
    system, body["messages"] = _messages(conversation)
    if system:
        body["system"] = system
    if conversation.stream:
        body["stream"] = True
    if conversation.tools:
        body["tools"] = [_tool(tool) for tool in conversation.tools]
    if conversation.choice is not None and conversation.tools:
        body["tool_choice"] = _choice(conversation.choice)
    if conversation.output is not None:
        _write_output(conversation, conversation.output, body)
    if conversation.thinking is not None:
        _write_thinking(conversation, conversation.thinking, body, dropped)
    if conversation.user:
        body["metadata"] = {"user_id": conversation.user}
    dropped.extend(f"options.{name}" for name in conversation.options)
    if conversation.keep_alive is not None:
        dropped.append("keep_alive")
    return body, dropped


def _write_sampling(params: Any, body: dict[str, Any]) -> list[str]:
    dropped: list[str] = []
    for name, value in params.items():
        wire = sampling.ANTHROPIC_OUT.get(name)
        if wire is not None:
            body[wire] = value
        elif name in ("logprobs", "logit_bias") and value:
            raise unsupported(name, "not available on a node that speaks anthropic")
        else:
            dropped.append(name)
    return dropped


def _messages(conversation: Conversation) -> tuple[str, list[dict[str, Any]]]:
    """System text, wherever it stood, and the turns. Results of parallel calls share one user turn."""
    if conversation.prompt is not None:
        return "", [{"role": "user", "content": conversation.prompt}]
    system: list[str] = []
    out: list[dict[str, Any]] = []
    results: list[dict[str, Any]] | None = None
    for message in conversation.messages:
        content = message.content
        if message.role == "system":
            system.append(message.text())
            continue
        if message.role == "tool":
            if results is None:
                results = []
                out.append({"role": "user", "content": results})
            results.extend(_block(part) for part in content if isinstance(part, ToolResult))
            continue
        if results is not None and message.role == "user":
            results.extend(_blocks(message))
        elif isinstance(content, str):
            out.append({"role": message.role, "content": content})
        else:
            blocks = _blocks(message)
            if blocks:
                out.append({"role": message.role, "content": blocks})
        results = None
    return "\n\n".join(system), out


def _blocks(message: Message) -> list[dict[str, Any]]:
    """Blocks of a turn, without empty text and unsigned reasoning, which the dialect refuses."""
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}] if message.content else []
    return [
        _block(part)
        for part in message.content
        if not (isinstance(part, Text) and not part.text) and not (isinstance(part, Reasoning) and not part.signature)
    ]


def _block(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        return _image(part)
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": part.arguments_object()}
    if isinstance(part, Reasoning):
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}
    content: str | list[dict[str, Any]] = part.content
    if part.images:
        content = [{"type": "text", "text": part.content}] if part.content else []
        content.extend(_image(image) for image in part.images)
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.call_id, "content": content}
    if part.is_error:
        block["is_error"] = True
    return block


def _image(image: Image) -> dict[str, Any]:
    if image.url:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    source = {"type": "base64", "media_type": image.media_type, "data": image.data}
    return {"type": "image", "source": source}


def _tool(tool: Tool) -> dict[str, Any]:
    schema = tool.schema or {"type": "object", "properties": {}}
    body: dict[str, Any] = {"name": tool.name, "input_schema": schema}
    if tool.description:
        body["description"] = tool.description
    if tool.strict is not None:
        body["strict"] = tool.strict
    return body


def _choice(choice: ToolChoice) -> dict[str, Any]:
    body: dict[str, Any] = {"type": "any" if choice.mode == "required" else choice.mode}
    if choice.mode == "tool":
        body["name"] = choice.name
    if choice.parallel is not None and choice.mode != "none":
        body["disable_parallel_tool_use"] = not choice.parallel
    return body


def _write_output(conversation: Conversation, output: OutputFormat, body: dict[str, Any]) -> None:
    if output.schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": output.schema}}
        return
    mode = conversation.choice.mode if conversation.choice is not None else "auto"
    if conversation.tools and mode in ("required", "tool"):
        return  # a call is asked for, so there is no text to shape
    if conversation.tools and mode != "none":
        body["tool_choice"] = {"type": "any"}
    else:
        body["tool_choice"] = {"type": "tool", "name": JSON_TOOL}
    body["tools"] = [*body.get("tools", ()), _JSON_TOOL_BODY]


def _write_thinking(conversation: Conversation, wanted: Thinking, body: dict[str, Any], dropped: list[str]) -> None:
    if not wanted.enabled:
        body["thinking"] = {"type": "disabled"}
        return
    budget = thinking.budget_of(wanted)
    if "max_tokens" not in conversation.sampling:
        body["max_tokens"] = budget + DEFAULT_MAX_TOKENS
    limit = body["max_tokens"]
    # The budget counts towards max_tokens and must leave room; a forced tool and an unsigned tool turn exclude it.
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    if limit <= thinking.MIN_BUDGET or forced or _in_unsigned_tool_turn(conversation.messages):
        dropped.append("reasoning")
        return
    body["thinking"] = {"type": "enabled", "budget_tokens": min(budget, limit - 1)}


def _in_unsigned_tool_turn(messages: tuple[Message, ...]) -> bool:
    if not messages or messages[-1].role != "tool":
        return False
    turn = next((message for message in reversed(messages) if message.role == "assistant"), None)
    if turn is None or isinstance(turn.content, str):
        return True
    return not any(isinstance(part, Reasoning) and part.signature for part in turn.content)
