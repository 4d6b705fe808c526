"""What became of a handler, as plain data: an exception of its own may not survive a way out of its process."""

from __future__ import annotations

from orchestrator_client.executor import HandlerFailed
from orchestrator_client.handlers import Cancelled, Permanent


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
