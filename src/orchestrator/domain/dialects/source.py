"""A Source reads a node's stream, one payload at a time, and tells a Sink what it says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from orchestrator.domain.dialects.conversation import Timings
from orchestrator.domain.dialects.sink import Loads, Sink, dump
from orchestrator.domain.dialects.usage import Usage
from orchestrator.domain.errors import UpstreamStatus


class Source(ABC):
    """Subclasses give `begin` (their state) and `event` (one payload)."""

    __slots__ = ("finished", "loads", "request_id", "sink", "started", "text_len", "usage")

    def __init__(self, sink: Sink, loads: Loads, request_id: str) -> None:
        self.sink = sink
        self.loads = loads
        self.request_id = request_id
        self.started = False
        self.finished = False
        self.usage: Usage | None = None
        self.text_len = 0
        self.begin()

    @abstractmethod
    def begin(self) -> None:
        """Sets up what the subclass keeps."""

    @abstractmethod
    def event(self, payload: bytes) -> None:
        """Raises what `StreamTranslator.feed` raises; a wrong shape may raise what Python does."""

    def start(self, usage: Usage | None = None) -> None:
        self.started = True
        self.sink.start(usage)

    def text(self, text: str, logprobs: list[Any] | None = None) -> None:
        self.text_len += len(text)
        self.sink.text(text, logprobs)

    def tool(self, index: int, call_id: Any, name: str) -> None:
        self.sink.tool(index, call_id or f"call_{self.request_id}_{index}", name)

    def end(self, finish: str, stop_sequence: str | None, timings: Timings | None = None) -> None:
        if not self.started:
            self.start()
        self.finished = True
        self.sink.end(finish, stop_sequence, self.usage, timings)

    @staticmethod
    def dump(value: Any) -> str:
        return dump(value).decode("ascii")

    @staticmethod
    def in_band(error: Any) -> UpstreamStatus:
        """An error that the node sent inside its 200 stream."""
        message, kind = error, ""
        if isinstance(error, dict):
            message, kind = error.get("message") or error, error.get("type") or ""
        return UpstreamStatus(f"the node's stream failed: {message}", details={"type": kind} if kind else None)
