"""What a dialect wants sent, before any fault is applied to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

JSON = "application/json"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer in one piece. `tokens` is how many tokens it holds, for pacing."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """One event or line of a stream. Only token frames are paced and counted."""

    data: bytes
    token: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer in frames, the dialect's terminal marker included."""

    frames: list[Frame]
    content_type: str = SSE

    def cut(self, after: int) -> tuple[list[Frame], list[Frame]]:
        """The frames up to and with the token number `after` (or the last one, if there are fewer), and the others.

        The second part always holds the terminal marker.
        """
        end = seen = 0
        for index, frame in enumerate(self.frames):
            if not frame.token:
                continue
            if seen == after:
                break
            seen += 1
            end = index + 1
        if after == 0:
            end = next((index for index, frame in enumerate(self.frames) if frame.token), 0)
        return self.frames[:end], self.frames[end:]


Plan: TypeAlias = Whole | Stream
