"""The deterministic answer to a request: tokens, reasoning, tool calls and usage, in no dialect yet."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

Finish: TypeAlias = Literal["stop", "length", "tool_calls", "stop_sequence"]

ECHO_CHARACTERS = 16_384
SPLIT_TEXT = " héllo wörld 世界 🎉🎉"
_TOKEN = re.compile(r"\s*\S+|\s+$")
_SAY = re.compile(r"\bsay (\d{1,6}) words\b", re.IGNORECASE)
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the request offers."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """What a request asks, whatever its dialect.

    `text` is the text of the last message, `by_user` whether a user wrote it. `limit` is in tokens. `forced` is the
    tool that must be called (an empty string: any). `schema` asks for JSON (empty: any object). `think` is the
    request's own switch.
    """

    text: str
    prompt_tokens: int
    by_user: bool = True
    limit: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    forced: str | None = None
    schema: dict[str, Any] | None = None
    think: bool | None = None


@dataclass(frozen=True, slots=True)
class Style:
    """How faults and settings change the answer.

    `tokens` fixes its length, `reply` is said in place of the echo, `suffix` is added to its text, `blob` is (position,
    length) of a huge token.
    """

    tokens: int | None = None
    reply: str | None = None
    suffix: str = ""
    blob: tuple[int, int] | None = None
    usage: bool = True


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool; `pieces` joined are the JSON of `arguments`."""

    name: str
    arguments: dict[str, Any]
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send. Usage is the number of tokens: reasoning, text and pieces of tool arguments."""

    prompt_tokens: int
    thinking: tuple[str, ...]
    tokens: tuple[str, ...]
    calls: tuple[ToolCall, ...]
    finish: Finish
    stopped_by: str | None = None

    @property
    def text(self) -> str:
        """The visible text."""
        return "".join(self.tokens)

    @property
    def thought(self) -> str:
        """The reasoning text."""
        return "".join(self.thinking)

    @property
    def completion_tokens(self) -> int:
        """All tokens sent."""
        return len(self.thinking) + len(self.tokens) + sum(len(call.pieces) for call in self.calls)


def count_tokens(text: str) -> int:
    """Prompt tokens: one more than there are spaces and newlines; 0 for no text."""
    return text.count(" ") + text.count("\n") + 1 if text else 0


@lru_cache(maxsize=1024)
def tokenize(text: str) -> tuple[str, ...]:
    """`text` in words, each with the white space before it; joined they are `text` again."""
    return tuple(_TOKEN.findall(text))


def compose(turn: Turn, style: Style) -> Answer:
    """The answer to `turn`."""
    wants_tool = turn.forced is not None or (turn.by_user and "call a tool" in turn.text)
    wants_all = turn.by_user and "call all tools" in turn.text
    thinking = _thinking(turn) if style.reply is None else ()
    if turn.tools and (wants_tool or wants_all):
        chosen = turn.tools if wants_all else (_choose(turn),)
        calls = tuple(_call(tool, turn.text) for tool in chosen)
        return Answer(turn.prompt_tokens, thinking, (), calls, "tool_calls")
    text, finish, stopped_by = _text(turn, style), "stop", None
    for stop in turn.stop:
        if stop and (index := text.find(stop)) >= 0:
            text, finish, stopped_by = text[:index], "stop_sequence", stop
    tokens = tokenize(text) if len(text) <= ECHO_CHARACTERS else tuple(_TOKEN.findall(text))
    if style.tokens is not None:
        tokens = _sized(tokens, style.tokens)
    if style.blob is not None:
        position, length = style.blob
        tokens = (*tokens[:position], " " + "x" * length, *tokens[position:])
    if turn.limit is not None and len(thinking) + len(tokens) > turn.limit:
        thinking = thinking[: turn.limit]
        tokens = tokens[: turn.limit - len(thinking)]
        return Answer(turn.prompt_tokens, thinking, tokens, (), "length")
    ended: Finish = "stop_sequence" if finish == "stop_sequence" else "stop"
    return Answer(turn.prompt_tokens, thinking, tokens, (), ended, stopped_by)


def _text(turn: Turn, style: Style) -> str:
    if turn.schema is not None:
        value = example(turn.schema, turn.text) if turn.schema else {"echo": turn.text[:ECHO_CHARACTERS]}
        return json.dumps(value, ensure_ascii=False)
    if style.reply is not None:
        return style.reply + style.suffix
    text = f"echo: {turn.text[:ECHO_CHARACTERS]}"
    if (said := _SAY.search(text)) is not None:
        text = "".join(_sized(tokenize(text), int(said.group(1))))
    return text + style.suffix


def _sized(tokens: Sequence[str], size: int) -> tuple[str, ...]:
    return (*tokens[:size], *(f" w{number}" for number in range(len(tokens), size)))


def _thinking(turn: Turn) -> tuple[str, ...]:
    wanted = turn.think if turn.think is not None else turn.by_user and "think" in turn.text.lower()
    return tokenize("I think about it before I answer.") if wanted else ()


def _choose(turn: Turn) -> Tool:
    return next((tool for tool in turn.tools if tool.name == turn.forced), turn.tools[0])


def _call(tool: Tool, text: str) -> ToolCall:
    value = example(tool.schema, text)
    arguments = value if isinstance(value, dict) else {}
    encoded = json.dumps(arguments, ensure_ascii=False)
    step = max(1, -(-len(encoded) // 4))
    pieces = tuple(encoded[start : start + step] for start in range(0, len(encoded), step))
    return ToolCall(tool.name, arguments, pieces)


def example(schema: dict[str, Any], text: str) -> Any:
    """A value that fits a JSON schema; strings are `text`. Follows `$ref` within the schema."""
    return _example(schema, text[:ECHO_CHARACTERS], schema, _DEPTH)


def _example(schema: Any, text: str, root: dict[str, Any], depth: int) -> Any:
    if not isinstance(schema, dict) or depth == 0:
        return None
    if "$ref" in schema:
        return _example(_follow(schema["$ref"], root), text, root, depth - 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return _example(schema[word][0], text, root, depth - 1)
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        kind = next((word for word in kind if word != "null"), "null")
    if kind == "object":
        properties: dict[str, Any] = schema.get("properties") or {}
        return {name: _example(part, text, root, depth - 1) for name, part in properties.items()}
    if kind == "array":
        item = _example(schema.get("items"), text, root, depth - 1)
        return [] if item is None else [item] * max(1, schema.get("minItems", 1))
    simple: dict[str, Any] = {"string": text, "integer": 7, "number": 1.5, "boolean": True}
    return simple.get(str(kind))


def _follow(reference: Any, root: dict[str, Any]) -> Any:
    found: Any = root
    for part in str(reference).removeprefix("#").strip("/").split("/"):
        found = found.get(part) if part and isinstance(found, dict) else found
    return found
