"""A StreamTranslator turns the bytes of a node's stream into the bytes of the client's."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects.conversation import Timings
from orchestrator.domain.dialects.framing import NdjsonFrames, SseFrames
from orchestrator.domain.dialects.source import Source
from orchestrator.domain.dialects.usage import Usage
from orchestrator.domain.errors import MalformedAnswer, OrchestratorError, Truncated

# What code that reads a JSON value of the wrong shape raises. Bad JSON and bad UTF-8 are ValueErrors.
WRONG_SHAPE = (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError)


class Silent:
    """A Sink for streams that are relayed or observed as they are."""

    __slots__ = ("out",)

    def __init__(self) -> None:
        self.out: list[bytes] = []

    def start(self, usage: Usage | None) -> None: ...

    def text(self, text: str, logprobs: list[Any] | None = None) -> None: ...

    def reasoning(self, text: str) -> None: ...

    def signature(self, signature: str) -> None: ...

    def tool(self, index: int, call_id: str, name: str) -> None: ...

    def arguments(self, index: int, text: str) -> None: ...

    def end(self, finish: str, stop_sequence: str | None, usage: Usage | None, timings: Timings | None) -> None: ...


class StreamTranslator:
    """`feed` any split of the node's bytes, then `finish` when the node closed its stream.

    `pending` holds what was translated before the event that made `feed` raise: the client may still have it.
    """

    __slots__ = ("_frames", "_relays", "_source", "pending")

    def __init__(self, frames: SseFrames | NdjsonFrames, source: Source, *, relays: bool = False) -> None:
        self._frames = frames
        self._source = source
        self._relays = relays
        self.pending = b""

    @property
    def finished(self) -> bool:
        """Whether the node's terminal marker has come."""
        return self._source.finished

    @property
    def usage(self) -> Usage | None:
        """What the node has said about tokens so far."""
        return self._source.usage

    @property
    def text_len(self) -> int:
        """Characters of the answer's text so far, without reasoning."""
        return self._source.text_len

    def feed(self, data: bytes) -> bytes:
        """The client's bytes for the node's `data`; empty while an event is incomplete.

        Raises `MalformedAnswer` for what is not the node's dialect or a line over 16 MiB, and `UpstreamStatus` for an
        error that the node sent inside the stream.
        """
        return self._take(self._frames.feed, data)

    def finish(self) -> bytes:
        """The rest. Raises `Truncated` when the terminal marker never came."""
        try:
            self.pending = rest = self._take(lambda _: self._frames.finish(), b"")
        except MalformedAnswer:
            rest = b""  # half an event, as a broken connection leaves it
        if not self._source.finished:
            raise Truncated("the node's stream ended before its end marker")
        return rest

    def _take(self, frames: Any, data: bytes) -> bytes:
        source = self._source
        out = source.sink.out
        try:
            for payload in frames(data):
                if source.finished:
                    break
                source.event(payload)
        except OrchestratorError:
            self.pending = self._drain(out)
            raise
        except WRONG_SHAPE as error:
            self.pending = self._drain(out)
            raise MalformedAnswer(f"the node's stream is not in its dialect: {error!r:.200}") from error
        return data if self._relays else self._drain(out)

    @staticmethod
    def _drain(out: list[bytes]) -> bytes:
        joined = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return joined
