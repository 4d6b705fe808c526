"""POST /v1/messages with `stream`: events read from a node and written to a client."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects.anthropic.answer import FINISH, stop_reason
from orchestrator.domain.dialects.anthropic.request_write import JSON_TOOL
from orchestrator.domain.dialects.conversation import Envelope, Timings
from orchestrator.domain.dialects.sink import Dumps, JsonSink, Loads, Sink
from orchestrator.domain.dialects.source import Source
from orchestrator.domain.dialects.usage import Usage, anthropic_usage, anthropic_usage_body
from orchestrator.domain.errors import MalformedAnswer


class MessagesSource(Source):
    """Events of the Messages API. With `json_tool`, the input of `JSON_TOOL` is told as text."""

    __slots__ = ("_calls", "_finish", "_inputs", "_json_tool", "_stop_sequence", "_tools")

    def __init__(self, sink: Sink, loads: Loads, request_id: str, json_tool: bool = False) -> None:
        super().__init__(sink, loads, request_id)
        self._json_tool = json_tool

    def begin(self) -> None:
        self._finish = "stop"
        self._stop_sequence: str | None = None
        self._calls: dict[int, int] = {}  # the node's block -> our call, -1 for the JSON answer
        self._inputs: dict[int, Any] = {}  # input given whole with a block's start
        self._tools = 0

    def event(self, payload: bytes) -> None:
        event = self.loads(payload)
        kind = event["type"]
        if kind == "content_block_delta":
            self._delta(event)
        elif kind == "content_block_start":
            self._block(event["index"], event["content_block"])
        elif kind == "content_block_stop":
            given = self._inputs.pop(event["index"], None)
            if given:
                self._arguments(event["index"], self.dump(given))
        elif kind == "message_start":
            usage = event["message"].get("usage")
            self.usage = anthropic_usage(usage) if usage else None
            self.start(self.usage)
        elif kind == "message_delta":
            self._message_delta(event)
        elif kind == "message_stop":
            if self._finish == "tool_calls" and self._json_tool and not self._tools:
                self._finish = "stop"
            self.end(self._finish, self._stop_sequence)
        elif kind == "error":
            raise self.in_band(event.get("error"))

    def _delta(self, event: dict[str, Any]) -> None:
        delta = event["delta"]
        kind = delta["type"]
        if kind == "text_delta":
            if delta["text"]:
                self.text(delta["text"])
        elif kind == "thinking_delta":
            self.sink.reasoning(delta["thinking"])
        elif kind == "input_json_delta":
            if delta["partial_json"]:
                self._inputs.pop(event["index"], None)
                self._arguments(event["index"], delta["partial_json"])
        elif kind == "signature_delta":
            self.sink.signature(delta["signature"])

    def _arguments(self, block: int, text: str) -> None:
        call = self._calls.get(block)
        if call is None:
            return  # a tool that the provider runs itself, seen only where the stream is relayed
        if call < 0:
            self.text(text)
        else:
            self.sink.arguments(call, text)

    def _block(self, index: int, block: dict[str, Any]) -> None:
        kind = block["type"]
        if not self.started:
            self.start()
        if kind == "tool_use":
            self._inputs[index] = block.get("input")
            if self._json_tool and block["name"] == JSON_TOOL:
                self._calls[index] = -1
                return
            self._calls[index] = self._tools
            self._tools += 1
            self.tool(self._calls[index], block.get("id"), block["name"])
        elif kind == "text" and block.get("text"):
            self.text(block["text"])
        elif kind == "thinking" and block.get("thinking"):
            self.sink.reasoning(block["thinking"])

    def _message_delta(self, event: dict[str, Any]) -> None:
        delta = event["delta"]
        self._finish = FINISH.get(delta.get("stop_reason") or "end_turn", "stop")
        self._stop_sequence = delta.get("stop_sequence")
        usage = event.get("usage")
        if usage:
            self.usage = anthropic_usage(usage, self.usage)


class MessagesSink(JsonSink):
    """Writes the events of the Messages API: one content block open at a time."""

    __slots__ = ("_after", "_before", "_index", "_open")

    def __init__(self, envelope: Envelope, dumps: Dumps) -> None:
        super().__init__(envelope, dumps)
        self._index = -1
        self._open: str | int = ""  # text, thinking, or the number of a tool call
        self._before = self._after = b""

    def _send(self, kind: str, **fields: Any) -> None:
        body = self.dumps({"type": kind, **fields})
        self.out.append(b"event: %b\ndata: %b\n\n" % (kind.encode("ascii"), body))

    def start(self, usage: Usage | None) -> None:
        message: dict[str, Any] = {
            "id": f"msg_{self.envelope.request_id}",
            "type": "message",
            "role": "assistant",
            "model": self.envelope.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": anthropic_usage_body(usage),
        }
        self._send("message_start", message=message)

    def _block(self, kind: str | int, block: dict[str, Any], delta: dict[str, Any]) -> None:
        """Opens a block, closing the one before, and prepares the template of its deltas."""
        self._close()
        self._index += 1
        self._open = kind
        self._send("content_block_start", index=self._index, content_block=block)
        before, after = self.split({"type": "content_block_delta", "index": self._index, "delta": delta})
        self._before, self._after = b"event: content_block_delta\ndata: " + before, after + b"\n\n"

    def _close(self) -> None:
        if self._open != "":
            self._send("content_block_stop", index=self._index)
            self._open = ""

    def text(self, text: str, logprobs: list[Any] | None = None) -> None:
        if self._open != "text":
            self._block("text", {"type": "text", "text": ""}, {"type": "text_delta", "text": "\0"})
        self.out.append(self._before + self.dumps(text) + self._after)

    def reasoning(self, text: str) -> None:
        if self._open != "thinking":
            block = {"type": "thinking", "thinking": "", "signature": ""}
            self._block("thinking", block, {"type": "thinking_delta", "thinking": "\0"})
        self.out.append(self._before + self.dumps(text) + self._after)

    def signature(self, signature: str) -> None:
        if self._open == "thinking":
            delta = {"type": "signature_delta", "signature": signature}
            self._send("content_block_delta", index=self._index, delta=delta)

    def tool(self, index: int, call_id: str, name: str) -> None:
        self.tools += 1
        block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
        self._block(index, block, {"type": "input_json_delta", "partial_json": "\0"})

    def arguments(self, index: int, text: str) -> None:
        if self._open != index:
            raise MalformedAnswer("the node streams the arguments of several tool calls at once")
        self.out.append(self._before + self.dumps(text) + self._after)

    def end(self, finish: str, stop_sequence: str | None, usage: Usage | None, timings: Timings | None) -> None:
        self._close()
        reason = stop_reason(finish, stop_sequence, self.tools > 0)
        self._send(
            "message_delta",
            delta={"stop_reason": reason, "stop_sequence": stop_sequence},
            usage=anthropic_usage_body(usage),
        )
        self._send("message_stop")
