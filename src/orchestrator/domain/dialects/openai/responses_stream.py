"""POST /v1/responses with `stream`: events written to a client, and read from a node that has them itself."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects.conversation import Envelope, Timings
from orchestrator.domain.dialects.openai import responses_answer as form
from orchestrator.domain.dialects.sink import Dumps, JsonSink
from orchestrator.domain.dialects.source import Source
from orchestrator.domain.dialects.usage import Usage, anthropic_usage
from orchestrator.domain.errors import MalformedAnswer

_FINISH = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ResponsesSource(Source):
    """Events of the Responses API."""

    __slots__ = ("_calls",)

    def begin(self) -> None:
        self._calls: dict[int, int] = {}  # the node's output index -> our call

    def event(self, payload: bytes) -> None:
        event = self.loads(payload)
        kind = event["type"]
        if not self.started:
            self.start()
        if kind == "response.output_text.delta":
            self.text(event["delta"])
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            self.sink.reasoning(event["delta"])
        elif kind == "response.output_item.added":
            item = event["item"]
            if item["type"] == "function_call":
                ours = self._calls[event["output_index"]] = len(self._calls)
                self.tool(ours, item.get("call_id"), item["name"])
        elif kind == "response.function_call_arguments.delta":
            if event["output_index"] in self._calls:
                self.sink.arguments(self._calls[event["output_index"]], event["delta"])
        elif kind in ("response.completed", "response.incomplete"):
            self._end(event["response"])
        elif kind == "response.failed":
            raise self.in_band(event["response"].get("error"))
        elif kind == "error":
            raise self.in_band(event)

    def _end(self, response: dict[str, Any]) -> None:
        usage = response.get("usage")
        self.usage = anthropic_usage(usage) if usage else None
        reason = (response.get("incomplete_details") or {}).get("reason")
        finish = _FINISH.get(reason or "", "stop")
        self.end("tool_calls" if self._calls and finish == "stop" else finish, None)


class ResponsesSink(JsonSink):
    """Writes the events of the Responses API: one output item open at a time."""

    __slots__ = ("_after", "_before", "_call", "_item_id", "_logprobs", "_open", "_output", "_pieces", "_sequence")

    def __init__(self, envelope: Envelope, dumps: Dumps) -> None:
        super().__init__(envelope, dumps)
        self._sequence = 0
        self._output: list[dict[str, Any]] = []  # finished items
        self._open: str | int = ""  # text, reasoning, or the number of a tool call
        self._item_id = ""
        self._pieces: list[str] = []  # of the open item's text
        self._logprobs: list[Any] = []
        self._call = ("", "")  # id and name of the open call
        self._before = self._after = b""

    def _send(self, kind: str, **fields: Any) -> None:
        body = self.dumps({"type": kind, "sequence_number": self._sequence, **fields})
        self.out.append(b"event: %b\ndata: %b\n\n" % (kind.encode("ascii"), body))
        self._sequence += 1

    def _place(self, part: bool = True) -> dict[str, Any]:
        place: dict[str, Any] = {"item_id": self._item_id, "output_index": len(self._output)}
        return place | {"content_index": 0} if part else place

    def _begin(self, kind: str | int, prefix: str) -> None:
        self._close()
        self._open = kind
        self._item_id = f"{prefix}_{self.envelope.request_id}_{len(self._output)}"
        self._pieces = []

    def _template(self, kind: str, **fields: Any) -> None:
        """Deltas are the hot path: all but their text and number is encoded once."""
        before, after = self.split({"type": kind, **fields, "delta": "\0"})
        self._before = b"event: %b\ndata: %b" % (kind.encode("ascii"), before)
        self._after = after[:-1] + b',"sequence_number":%d}\n\n'

    def _delta(self, text: str) -> None:
        self._pieces.append(text)
        self.out.append(self._before + self.dumps(text) + self._after % self._sequence)
        self._sequence += 1

    def start(self, usage: Usage | None) -> None:
        response = form.shell(self.envelope, "in_progress", [])
        self._send("response.created", response=response)
        self._send("response.in_progress", response=response)

    def text(self, text: str, logprobs: list[Any] | None = None) -> None:
        if self._open != "text":
            self._begin("text", "msg")
            item = form.message_item(self._item_id, None)
            self._send("response.output_item.added", output_index=len(self._output), item=item)
            self._send("response.content_part.added", **self._place(), part=form.text_part(""))
            self._template("response.output_text.delta", **self._place(), logprobs=[])
        if logprobs:
            tokens = form.token_logprobs(logprobs)
            self._logprobs.extend(tokens)
            self._pieces.append(text)
            self._send("response.output_text.delta", **self._place(), delta=text, logprobs=tokens)
        else:
            self._delta(text)

    def reasoning(self, text: str) -> None:
        if self._open != "reasoning":
            self._begin("reasoning", "rs")
            item = form.reasoning_item(self._item_id, None)
            self._send("response.output_item.added", output_index=len(self._output), item=item)
            part = {"type": "reasoning_text", "text": ""}
            self._send("response.content_part.added", **self._place(), part=part)
            self._template("response.reasoning_text.delta", **self._place())
        self._delta(text)

    def signature(self, signature: str) -> None:
        """Has no place in this dialect."""

    def tool(self, index: int, call_id: str, name: str) -> None:
        self._begin(index, "fc")
        self._call = (call_id, name)
        item = form.call_item(self._item_id, call_id, name, None)
        self._send("response.output_item.added", output_index=len(self._output), item=item)
        self._template("response.function_call_arguments.delta", **self._place(part=False))

    def arguments(self, index: int, text: str) -> None:
        if self._open != index:
            raise MalformedAnswer("the node streams the arguments of several tool calls at once")
        self._delta(text)

    def _close(self) -> None:
        if self._open == "":
            return
        whole = "".join(self._pieces)
        if self._open == "text":
            part = form.text_part(whole, self._logprobs)
            item = form.message_item(self._item_id, part)
            self._send("response.output_text.done", **self._place(), text=whole, logprobs=self._logprobs)
            self._send("response.content_part.done", **self._place(), part=part)
        elif self._open == "reasoning":
            item = form.reasoning_item(self._item_id, whole)
            self._send("response.reasoning_text.done", **self._place(), text=whole)
            self._send("response.content_part.done", **self._place(), part=item["content"][0])
        else:
            whole = whole or "{}"
            item = form.call_item(self._item_id, *self._call, whole)
            place = self._place(part=False)
            name = self._call[1]
            self._send("response.function_call_arguments.done", **place, name=name, arguments=whole)
        self._send("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        self._open = ""
        self._logprobs = []

    def end(self, finish: str, stop_sequence: str | None, usage: Usage | None, timings: Timings | None) -> None:
        if not self._output and self._open == "":
            self.text("")
        self._close()
        response = form.finished(self.envelope, finish, self._output, usage)
        self._send(f"response.{response['status']}", response=response)
