"""Continuing a broken stream on another node: what was said so far, and the request that goes on from there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.dialects import endpoint as ep
from orchestrator.domain.dialects.endpoint import Endpoint
from orchestrator.domain.dialects.sink import Loads
from orchestrator.domain.dialects.stream import Silent, StreamTranslator
from orchestrator.domain.dialects.translation import observer
from orchestrator.domain.dialects.usage import Usage
from orchestrator.domain.errors import OrchestratorError

_LIMITS = ("max_tokens", "max_completion_tokens")
_NEEDS_WHOLE_PROMPT = ("system", "template", "images", "context", "suffix")


class _Collector(Silent):
    """Keeps the text, and whether there was anything besides text."""

    __slots__ = ("other", "pieces")

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.other = False

    def text(self, text: str, logprobs: list[Any] | None = None) -> None:
        self.pieces.append(text)

    def reasoning(self, text: str) -> None:
        self.other = True

    def tool(self, index: int, call_id: str, name: str) -> None:
        self.other = True


class StreamText:
    """Watches a stream of `endpoint` and collects its text. Never raises: what it cannot read is not continuable."""

    __slots__ = ("_broken", "_collector", "_stream")

    def __init__(self, endpoint: Endpoint, loads: Loads = json.loads) -> None:
        self._collector = _Collector()
        self._stream: StreamTranslator = observer(endpoint, self._collector, loads)
        self._broken = False

    def feed(self, data: bytes) -> None:
        if not self._broken:
            try:
                self._stream.feed(data)
            except OrchestratorError:
                self._broken = True

    @property
    def text(self) -> str:
        return "".join(self._collector.pieces)

    @property
    def pieces(self) -> int:
        """Deltas of text so far: about as many as tokens."""
        return len(self._collector.pieces)

    @property
    def usage(self) -> Usage | None:
        return self._stream.usage

    @property
    def finished(self) -> bool:
        return self._stream.finished

    @property
    def continuable(self) -> bool:
        """False once the answer holds a tool call or reasoning, has ended, or cannot be read."""
        return not (self._broken or self._collector.other or self._stream.finished)


def continuation(endpoint: Endpoint, body: Mapping[str, Any], text: str, *, tokens: int = 0) -> dict[str, Any] | None:
    """The request whose answer goes on after `text`, or None where none would.

    `tokens` are those already generated; they are taken off the request's limit. None for several answers at once,
    reasoning, JSON output (a grammar cannot begin in the middle), a forced tool call, and prompts whose template only
    the first node applied.
    """
    if _cannot_continue(body):
        return None
    out = dict(body)
    if not text:
        return out
    if not _shorten(out, tokens):
        return None
    if endpoint is ep.OPENAI_CHAT:
        out |= {"continue_final_message": True, "add_generation_prompt": False}  # vLLM's words for it
        return _append(out, text)
    if endpoint is ep.OLLAMA_CHAT:
        return _append(out, text)
    if endpoint is ep.ANTHROPIC_MESSAGES:
        return _append(out, text.rstrip())  # the dialect refuses a last turn that ends in white space
    if endpoint is ep.OPENAI_COMPLETIONS or endpoint is ep.OLLAMA_GENERATE:
        return _extend_prompt(endpoint, out, text)
    return None


def _cannot_continue(body: Mapping[str, Any]) -> bool:
    thinking = body.get("thinking")
    choice = body.get("tool_choice")
    forced = choice == "required" if isinstance(choice, str) else bool(choice) and _forces(choice)
    return bool(
        body.get("n") not in (None, 1)
        or body.get("best_of") not in (None, 1)
        or body.get("reasoning_effort") not in (None, "none")
        or body.get("think")
        or (isinstance(thinking, Mapping) and thinking.get("type") != "disabled")
        or body.get("format")
        or _shaped(body.get("response_format"))
        or (body.get("output_config") or {}).get("format")
        or body.get("echo")
        or forced
    )


def _forces(choice: Any) -> bool:
    return isinstance(choice, Mapping) and choice.get("type") not in ("auto", "none")


def _shaped(response_format: Any) -> bool:
    return isinstance(response_format, Mapping) and response_format.get("type") != "text"


def _shorten(body: dict[str, Any], tokens: int) -> bool:
    """Takes `tokens` off the limit; False when nothing is left of it."""
    for name in _LIMITS:
        if isinstance(body.get(name), int):
            body[name] -= tokens
            if body[name] <= 0:
                return False
    options = body.get("options")
    limit = options.get("num_predict") if isinstance(options, Mapping) else None
    if isinstance(options, Mapping) and isinstance(limit, int) and limit > 0:
        if limit <= tokens:
            return False
        body["options"] = {**options, "num_predict": limit - tokens}
    return True


def _append(body: dict[str, Any], text: str) -> dict[str, Any] | None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    if isinstance(last, Mapping) and last.get("role") == "assistant":
        if not isinstance(last.get("content"), str) or last.get("tool_calls"):
            return None
        body["messages"] = [*messages[:-1], {**last, "content": last["content"] + text}]
    else:
        body["messages"] = [*messages, {"role": "assistant", "content": text}]
    return body


def _extend_prompt(endpoint: Endpoint, body: dict[str, Any], text: str) -> dict[str, Any] | None:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or any(body.get(name) for name in _NEEDS_WHOLE_PROMPT):
        return None
    body["prompt"] = prompt + text
    if endpoint is ep.OLLAMA_GENERATE:
        body["raw"] = True
    return body
