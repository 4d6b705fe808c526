"""One streamed answer of a model: read, shown, and timed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx2

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, refusal
from orchestrator.entrypoints.cli.failure import CommandFailed

READ_TIMEOUT = 900.0  # seconds between two bits; the service has closer limits of its own
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Answer:
    """What has come so far."""

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.model = ""
        self.finish_reason = ""
        self.tool_calls: dict[int, dict[str, Any]] = {}
        self.usage: dict[str, Any] | None = None
        self.node: str | None = None
        self.complete = False
        self._asked = time.monotonic()
        self._first: float | None = None
        self._last = self._asked
        self._pieces = 0

    def take(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Takes in one chunk and returns its delta."""
        self.model = self.model or str(chunk.get("model") or "")
        self.usage = chunk.get("usage") or self.usage
        choices = chunk.get("choices")
        if not choices:
            return {}
        delta: dict[str, Any] = choices[0].get("delta") or {}
        self.finish_reason = choices[0].get("finish_reason") or self.finish_reason
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        text = delta.get("content") or delta.get("refusal") or ""
        if thought or text:
            self._last = time.monotonic()
            self._first = self._first or self._last
            self._pieces += 1
        self.reasoning += thought
        self.text += text
        for call in delta.get("tool_calls") or ():
            self._call(call)
        return {"thought": thought, "text": text}

    def _call(self, call: dict[str, Any]) -> None:
        function = call.get("function") or {}
        kept = self.tool_calls.setdefault(call.get("index") or 0, {"name": "", "arguments": ""})
        kept["name"] += function.get("name") or ""
        kept["arguments"] += function.get("arguments") or ""

    @property
    def tokens(self) -> int | None:
        """Tokens of the answer, as the service counted them."""
        count = (self.usage or {}).get("completion_tokens")
        return count if isinstance(count, int) and count > 0 else None

    @property
    def rate(self) -> float | None:
        """Tokens a second after the first one."""
        if self.tokens is None or self._first is None or self.tokens < 2 or self._last <= self._first:
            return None
        return (self.tokens - 1) / (self._last - self._first)

    def speed(self) -> str:
        parts = [f"{self.tokens} tokens" if self.tokens is not None else f"{self._pieces} pieces"]
        if self.rate is not None:
            parts.append(f"{self.rate:.1f} tokens/s")
        if self._first is not None:
            parts.append(f"first after {self._first - self._asked:.2f} s")
        parts.append(f"{self._last - self._asked:.2f} s")
        parts += [f"node {output.printable(self.node)}"] if self.node else []
        parts += [f"ended: {self.finish_reason}"] if self.finish_reason not in ("", "stop") else []
        return "[" + ", ".join(parts) + "]"

    def facts(self) -> dict[str, Any]:
        """The answer as `--json` prints it. Times in seconds."""
        found: dict[str, Any] = {"model": self.model, "content": self.text}
        if self.reasoning:
            found["reasoning"] = self.reasoning
        if self.tool_calls:
            found["tool_calls"] = list(self.tool_calls.values())
        return found | {
            "finish_reason": self.finish_reason or None,
            "usage": self.usage,
            "node": self.node,
            "ttft": round(self._first - self._asked, 4) if self._first is not None else None,
            "duration": round(self._last - self._asked, 4),
            "tokens_per_second": round(self.rate, 2) if self.rate is not None else None,
        }


class Terminal:
    """Shows an answer as it comes: text on standard output, reasoning on standard error, dimmed."""

    def __init__(self) -> None:
        self._plain = sys.stdout.isatty()
        self._colour = output.err().color_system is not None
        self._thinking = False
        self._last = "\n"

    def show(self, text: str, thought: str) -> None:
        if thought:
            self._thinking = True
            sys.stderr.write(f"{_DIM}{clean(thought)}{_PLAIN}" if self._colour else clean(thought))
            sys.stderr.flush()
        if text:
            self._end_thinking()
            # A pipe gets what the model wrote; a terminal nothing that could move its cursor.
            sys.stdout.write(clean(text) if self._plain else text)
            sys.stdout.flush()
            self._last = text[-1]

    def end(self) -> None:
        self._end_thinking()
        if self._last != "\n":
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._last = "\n"

    def _end_thinking(self) -> None:
        if self._thinking:
            self._thinking = False
            sys.stderr.write("\n\n")
            sys.stderr.flush()


def clean(text: str) -> str:
    return "".join(char for char in text if char.isprintable() or char in "\n\t")


def ask(
    connection: Connection, path: str, body: dict[str, Any], terminal: Terminal | None, answer: Answer | None = None
) -> Answer:
    """Sends one chat request and reads its answer. Raises CommandFailed, also for an answer that breaks off; what came
    until then is in `answer`."""
    answer = answer if answer is not None else Answer()
    request = body | {"stream": True, "stream_options": {"include_usage": True}}
    with connection.stream(path, request, READ_TIMEOUT) as response:
        answer.node = response.headers.get("x-selected-server")
        for chunk in chunks(response, answer):
            shown = answer.take(chunk)
            if terminal is not None and shown:
                terminal.show(shown["text"], shown["thought"])
    if terminal is not None:
        terminal.end()
    if not answer.complete:
        raise CommandFailed("The answer broke off before its end.", details=answer.facts())
    for call in answer.tool_calls.values() if terminal is not None else ():
        output.say(f"tool call: {output.printable(call['name'])}({output.printable(call['arguments'])})", "cyan")
    return answer


def chunks(response: httpx2.Response, answer: Answer) -> Iterator[dict[str, Any]]:
    """The chunks of an OpenAI stream. Raises Refused for an error inside it."""
    for line in response.iter_lines():
        name, _, data = line.partition(":")
        data = data.strip()
        if name != "data" or not data:
            continue
        if data == "[DONE]":
            answer.complete = True
            return
        try:
            chunk = json.loads(data)
        except ValueError:
            raise CommandFailed("The service sent a piece that is not JSON.") from None
        if not isinstance(chunk, dict):
            continue
        if chunk.get("error"):
            error = refusal(502, data.encode())
            del error.details["status"]  # the answer itself had begun with 200
            raise error
        yield chunk
