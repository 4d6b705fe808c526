"""POST /v1/chat/completions with `stream`: chunks read from a node and written to a client."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects.conversation import Envelope, Timings
from orchestrator.domain.dialects.openai.chat_answer import FINISH, read_timings
from orchestrator.domain.dialects.openai.chat_request import wants_usage
from orchestrator.domain.dialects.sink import Dumps, JsonSink
from orchestrator.domain.dialects.source import Source
from orchestrator.domain.dialects.usage import Usage, openai_usage, openai_usage_body
from orchestrator.domain.errors import MalformedAnswer

DONE = b"data: [DONE]\n\n"


class ChatSource(Source):
    """Chunks of chat completions."""

    __slots__ = ("_calls", "_finish", "_stopped_by", "_timings")

    def begin(self) -> None:
        self._finish = ""
        self._stopped_by: str | None = None
        self._timings: Timings | None = None
        self._calls: dict[int, int] = {}  # the node's index -> ours

    def event(self, payload: bytes) -> None:
        if payload == b"[DONE]":
            self.end(self._finish or "stop", self._stopped_by, self._timings)
            return
        chunk = self.loads(payload)
        if chunk.get("error"):
            raise self.in_band(chunk["error"])
        usage = chunk.get("usage")
        if usage:
            self.usage = openai_usage(usage)
        if "timings" in chunk:
            self._timings = read_timings(chunk["timings"])
        choices = chunk.get("choices")
        if choices:
            if not self.started:
                self.start()
            first = choices[0]
            if not first.get("index"):  # further answers are seen only where the stream is relayed
                self.choice(first)

    def choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        if delta:
            thought = delta.get("reasoning_content") or delta.get("reasoning")
            if thought:
                self.sink.reasoning(thought)
            text = delta.get("content") or delta.get("refusal")
            if text:
                logprobs = choice.get("logprobs")
                self.text(text, logprobs.get("content") if logprobs else None)
            calls = delta.get("tool_calls")
            if calls:
                for call in calls:
                    self._call(call)
        if choice.get("finish_reason"):
            self.finish_reason(choice)

    def finish_reason(self, choice: dict[str, Any]) -> None:
        self._finish = FINISH.get(choice["finish_reason"], "stop")
        stopped_by = choice.get("stop_reason")
        if isinstance(stopped_by, str):
            self._stopped_by = stopped_by

    def _call(self, call: dict[str, Any]) -> None:
        function = call.get("function") or {}
        index = call.get("index")
        if index is None:
            # Some servers send whole calls without an index: an id or a name begins the next one.
            begins = bool(call.get("id") or function.get("name"))
            index = len(self._calls) if begins else len(self._calls) - 1
        ours = self._calls.get(index)
        if ours is None:
            if "custom" in call:
                return  # seen only where the stream is relayed
            if not function.get("name"):
                raise MalformedAnswer("the node streamed a tool call without a name")
            ours = self._calls[index] = len(self._calls)
            self.tool(ours, call.get("id"), function["name"])
        arguments = function.get("arguments")
        if arguments:
            self.sink.arguments(ours, arguments if isinstance(arguments, str) else self.dump(arguments))


class ChatSink(JsonSink):
    """Writes chat completion chunks."""

    __slots__ = ("_after", "_before", "_usage_wanted")

    def __init__(self, envelope: Envelope, dumps: Dumps) -> None:
        super().__init__(envelope, dumps)
        self._usage_wanted = wants_usage(envelope.body)
        before, after = self.split(self._chunk({"content": "\0"}))
        self._before, self._after = b"data: " + before, after + b"\n\n"

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._frame([choice])

    def _frame(self, choices: list[Any]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.envelope.request_id}",
            "object": "chat.completion.chunk",
            "created": int(self.envelope.now),
            "model": self.envelope.model,
            "choices": choices,
        }

    def _send(self, value: dict[str, Any]) -> None:
        self.out.append(b"data: " + self.dumps(value) + b"\n\n")

    def start(self, usage: Usage | None) -> None:
        self._send(self._chunk({"role": "assistant", "content": ""}))

    def text(self, text: str, logprobs: list[Any] | None = None) -> None:
        if logprobs:
            self._send(self._chunk({"content": text}, logprobs={"content": logprobs, "refusal": None}))
        else:
            self.out.append(self._before + self.dumps(text) + self._after)

    def reasoning(self, text: str) -> None:
        self._send(self._chunk({"reasoning_content": text}))

    def signature(self, signature: str) -> None:
        """Has no place in this dialect."""

    def tool(self, index: int, call_id: str, name: str) -> None:
        self.tools += 1
        function = {"name": name, "arguments": ""}
        call = {"index": index, "id": call_id, "type": "function", "function": function}
        self._send(self._chunk({"tool_calls": [call]}))

    def arguments(self, index: int, text: str) -> None:
        self._send(self._chunk({"tool_calls": [{"index": index, "function": {"arguments": text}}]}))

    def end(self, finish: str, stop_sequence: str | None, usage: Usage | None, timings: Timings | None) -> None:
        self._send(self._chunk({}, "tool_calls" if self.tools and finish == "stop" else finish))
        if self._usage_wanted:
            self._send(self._frame([]) | {"usage": openai_usage_body(usage or Usage(0, 0))})
        self.out.append(DONE)
