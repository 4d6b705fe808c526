"""POST /api/chat and /api/generate with `stream`: objects read from a node and written to a client."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.domain.dialects.conversation import Envelope, Timings
from orchestrator.domain.dialects.ollama.answer import FINISH, created_at, measures, read_timings
from orchestrator.domain.dialects.sink import Clock, Dumps, JsonSink
from orchestrator.domain.dialects.source import Source
from orchestrator.domain.dialects.usage import Usage, ollama_usage
from orchestrator.domain.errors import MalformedAnswer


class OllamaSource(Source):
    """Objects of either endpoint: chat has `message`, generate has `response`."""

    __slots__ = ("_tools",)

    def begin(self) -> None:
        self._tools = 0

    def event(self, payload: bytes) -> None:
        body = self.loads(payload)
        if "error" in body:
            raise self.in_band(body["error"])
        if not self.started:
            self.start()
        message = body.get("message")
        if message is None:
            text, thought, calls = body.get("response"), body.get("thinking"), None
        else:
            text, thought, calls = message.get("content"), message.get("thinking"), message.get("tool_calls")
        if thought:
            self.sink.reasoning(thought)
        if text:
            self.text(text, body.get("logprobs"))
        if calls:
            self._calls(calls)
        if body.get("done"):
            self.usage = ollama_usage(body)
            finish = FINISH.get(body.get("done_reason") or "stop", "stop")
            self.end("tool_calls" if self._tools else finish, None, read_timings(body))

    def _calls(self, calls: list[Any]) -> None:
        for call in calls:
            function = call["function"]
            self.tool(self._tools, call.get("id"), function["name"])
            self.sink.arguments(self._tools, self.dump(function.get("arguments") or {}))
            self._tools += 1


class OllamaSink(JsonSink):
    """Writes objects of `/api/chat` (key `message`) or of `/api/generate` (key `response`)."""

    __slots__ = ("_after", "_before", "_calls", "_chat", "_clock", "_created_at", "_first")

    def __init__(self, envelope: Envelope, dumps: Dumps, clock: Clock | None, chat: bool) -> None:
        super().__init__(envelope, dumps)
        self._chat = chat
        self._clock = clock
        self._created_at = created_at(envelope.now)
        self._first: float | None = None  # when the answer began
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        before, after = self.split(self._object("\0"))
        self._before, self._after = before, after + b"\n"

    def _object(self, text: str, **fields: Any) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.envelope.model, "created_at": self._created_at}
        if self._chat:
            body["message"] = {"role": "assistant", "content": text}
        else:
            body["response"] = text
        body["done"] = False
        return body | fields

    def _send(self, value: dict[str, Any]) -> None:
        self.out.append(self.dumps(value) + b"\n")

    def start(self, usage: Usage | None) -> None:
        if self._clock is not None:
            self._first = self._clock()

    def text(self, text: str, logprobs: list[Any] | None = None) -> None:
        if logprobs:
            self._send(self._object(text, logprobs=logprobs))
        else:
            self.out.append(self._before + self.dumps(text) + self._after)

    def reasoning(self, text: str) -> None:
        if self._chat:
            message = {"role": "assistant", "content": "", "thinking": text}
            self._send(self._object("", message=message))
        else:
            self._send(self._object("", thinking=text))

    def signature(self, signature: str) -> None:
        """Has no place in this dialect."""

    def tool(self, index: int, call_id: str, name: str) -> None:
        self._calls[index] = (call_id, name, [])

    def arguments(self, index: int, text: str) -> None:
        self._calls[index][2].append(text)

    def _send_calls(self, finish: str) -> None:
        """Whole calls are all that the dialect has, so they wait until their arguments are complete; one that the token
        limit cut is left out."""
        calls = []
        for index, (call_id, name, pieces) in self._calls.items():
            try:
                arguments = json.loads("".join(pieces) or "{}")
            except ValueError:
                arguments = None
            if not isinstance(arguments, dict):
                if finish == "length":
                    continue
                raise MalformedAnswer(f"the arguments of the node's call of {name} are not a JSON object")
            calls.append({"id": call_id, "function": {"index": index, "name": name, "arguments": arguments}})
        if calls:
            message = {"role": "assistant", "content": "", "tool_calls": calls}
            self._send(self._object("", message=message))

    def end(self, finish: str, stop_sequence: str | None, usage: Usage | None, timings: Timings | None) -> None:
        if self._calls and self._chat:
            self._send_calls(finish)
        total = 0.0
        if self._clock is not None:
            ended = self._clock()
            total = max(ended - self.envelope.now, 0.0)
            self._created_at = created_at(ended)
            if timings is None and self._first is not None:
                waited = max(self._first - self.envelope.now, 0.0)
                timings = Timings(0, int(waited * 1e9), int(max(total - waited, 0.0) * 1e9))
        reason = "length" if finish == "length" else "stop"
        last = self._object("", done=True, done_reason=reason)
        self._send(last | measures(usage, timings, total))
