"""One reading of the clock for everything that happens at one moment."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic, time


class Clock:
    """`now` is the last reading, in monotonic seconds; `epoch` the same moment in seconds since the epoch."""

    __slots__ = ("_second", "_text", "_wall", "epoch", "now")

    def __init__(self) -> None:
        self.now = monotonic()
        self.epoch = time()
        self._wall = self.epoch - self.now
        self._second = -1
        self._text = ""  # of that second

    def tick(self) -> float:
        """Reads the clock anew."""
        self.now = now = monotonic()
        self.epoch = self._wall + now
        return now

    def wall(self) -> float:
        """Reads the clock anew; seconds since the epoch."""
        self.tick()
        return self.epoch

    def adjust(self) -> None:
        """Follows the system's wall clock, which may be set while the service runs."""
        self._wall = time() - self.tick()
        self.epoch = self._wall + self.now

    def timestamp(self) -> str:
        """The moment in RFC 3339, UTC."""
        second = int(self.epoch)
        if second != self._second:
            self._second, self._text = second, datetime.fromtimestamp(second, UTC).isoformat()[:19]
        return f"{self._text}.{int((self.epoch - second) * 1e6):06d}Z"
