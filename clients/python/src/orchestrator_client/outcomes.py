"""What became of a handler, as plain data: an exception of its own may not survive a way out of its process."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator_client.executor import HandlerFailed
from orchestrator_client.handlers import Cancelled, Permanent
from orchestrator_client.results import encode


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result` as JSON, or what went wrong: the line about it, and the traceback."""

    result: str = ""
    error: str = ""
    traceback: str = ""
    permanent: bool = False

    @classmethod
    def of(cls, call: Callable[[], Any]) -> Outcome:
        """What comes of the call. Raises KeyboardInterrupt only: by it Ray interrupts."""
        try:
            return cls(encode(call()))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever else a handler raises is the attempt's end
            return cls.failed(error)

    @classmethod
    def failed(cls, error: BaseException) -> Outcome:
        text = "".join(traceback.format_exception(error))
        return cls("", error_line(error), text, isinstance(error, Permanent))

    def value(self) -> str:
        """The result. Raises Permanent, HandlerFailed."""
        if not self.error:
            return self.result
        failure = Permanent(self.error) if self.permanent else HandlerFailed(self.error)
        failure.add_note(self.traceback)
        raise failure


def error_line(error: BaseException) -> str:
    """What an exception of a handler is told as."""
    if isinstance(error, Cancelled):
        return "the handler gave up"
    text = _text(error)
    if text and isinstance(error, Permanent | HandlerFailed):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as another:  # noqa: BLE001 - it is the handler's code
        return f"(its text cannot be made: {type(another).__name__})"
