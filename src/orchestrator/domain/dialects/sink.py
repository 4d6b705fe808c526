"""A Sink writes a stream in the client's dialect from the few things that any dialect's stream says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from orchestrator.domain.dialects.conversation import Envelope, Timings
from orchestrator.domain.dialects.usage import Usage

Loads = Callable[[bytes], Any]
Dumps = Callable[[Any], bytes]
Clock = Callable[[], float]

_encode = json.JSONEncoder(separators=(",", ":")).encode


def dump(value: Any) -> bytes:
    """JSON in as few bytes as ASCII allows: a lone surrogate that a node sent must not fail to encode."""
    return _encode(value).encode("ascii")


class Sink(Protocol):
    """Calls append bytes to `out`. Order: start, then any mix, then end exactly once."""

    out: list[bytes]

    def start(self, usage: Usage | None) -> None:
        """The node began to answer; `usage` when its dialect tells the prompt's tokens first."""

    def text(self, text: str, logprobs: list[Any] | None = None) -> None: ...

    def reasoning(self, text: str) -> None: ...

    def signature(self, signature: str) -> None:
        """The provider's proof of the reasoning before it."""

    def tool(self, index: int, call_id: str, name: str) -> None:
        """A tool call begins; `index` counts from 0 in the answer."""

    def arguments(self, index: int, text: str) -> None:
        """More of the JSON text of a call's arguments."""

    def end(self, finish: str, stop_sequence: str | None, usage: Usage | None, timings: Timings | None) -> None: ...


class JsonSink:
    """What the sinks share: the output, the envelope and the encoder."""

    __slots__ = ("dumps", "envelope", "out", "tools")

    def __init__(self, envelope: Envelope, dumps: Dumps) -> None:
        self.out: list[bytes] = []
        self.envelope = envelope
        self.dumps = dumps
        self.tools = 0

    def split(self, value: Any) -> tuple[bytes, bytes]:
        """The JSON of `value` before and after the last place held by the text `\\u0000`: a template for a hot path."""
        before, _, after = self.dumps(value).rpartition(b'"\\u0000"')
        return before, after
