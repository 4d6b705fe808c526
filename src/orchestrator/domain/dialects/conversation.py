"""A Conversation is a request to generate, and an Answer its result, free of any dialect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.domain.dialects.usage import Usage
from orchestrator.domain.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """Either `data` (base64) with its media type, or a `url` to fetch. `where` names the field for refusals."""

    data: str = ""
    media_type: str = ""
    url: str = ""
    detail: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a model thought in an earlier turn. `signature` is the provider's proof, empty from open models."""

    text: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`arguments` is JSON text or the object itself, as the source dialect had it."""

    id: str
    name: str
    arguments: str | Mapping[str, Any]
    where: str = ""

    def arguments_text(self) -> str:
        if isinstance(self.arguments, str):
            return self.arguments or "{}"
        return json.dumps(self.arguments, separators=(",", ":"), ensure_ascii=False)

    def arguments_object(self) -> Mapping[str, Any]:
        """Raises `InvalidRequest` when the text is not a JSON object."""
        if not isinstance(self.arguments, str):
            return self.arguments
        try:
            value = json.loads(self.arguments) if self.arguments.strip() else {}
        except ValueError:
            value = None
        if not isinstance(value, dict):
            where = self.where or f"arguments of {self.name}"
            raise InvalidRequest(f"'{where}' must be a JSON object", details={"param": where})
        return value

    def is_whole(self) -> bool:
        """Whether the arguments are there to their end."""
        if not isinstance(self.arguments, str):
            return True
        try:
            return isinstance(json.loads(self.arguments), dict)
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    name: str
    content: str
    images: tuple[Image, ...] = ()
    is_error: bool = False


Part = Text | Image | Reasoning | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """`role` is system, user, assistant or tool. A tool message holds exactly one ToolResult."""

    role: str
    content: str | tuple[Part, ...]

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`mode` is auto, none, required or tool (then `name` is the tool). `parallel` None: not said."""

    mode: str = "auto"
    name: str = ""
    parallel: bool | None = None


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """JSON output: any object when `schema` is None."""

    schema: Mapping[str, Any] | None = None
    name: str = "response"
    description: str = ""
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """Whether and how hard to reason. `effort` is of thinking.EFFORTS or empty; `budget` in tokens, 0: not said."""

    enabled: bool
    effort: str = ""
    budget: int = 0


@dataclass(frozen=True, slots=True)
class Conversation:
    """`sampling` has the names of `sampling.py`; `prompt` replaces `messages` where no chat template applies."""

    model: str
    messages: tuple[Message, ...]
    stream: bool
    sampling: Mapping[str, Any]
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice | None = None
    output: OutputFormat | None = None
    thinking: Thinking | None = None
    prompt: str | None = None
    suffix: str = ""
    echo: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)  # Ollama options that no other dialect has
    keep_alive: Any = None
    user: str = ""


@dataclass(frozen=True, slots=True)
class Timings:
    """How long the node worked, in nanoseconds."""

    load: int = 0
    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """`finish` is stop, length, tool_calls or content_filter; `logprobs` is OpenAI's list per token."""

    text: str
    reasoning: str = ""
    signature: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str = "stop"
    stop_sequence: str | None = None
    usage: Usage | None = None
    logprobs: list[Any] | None = None
    timings: Timings | None = None

    def whole_calls(self) -> tuple[ToolCall, ...]:
        """For dialects that have arguments as an object: a call that the token limit cut has none, and is left out."""
        if self.finish != "length":
            return self.tool_calls
        return tuple(call for call in self.tool_calls if call.is_whole())


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an answer to the client needs besides its content: `now` in epoch seconds, `body` the client's request."""

    model: str
    request_id: str
    now: float
    body: dict[str, Any]
