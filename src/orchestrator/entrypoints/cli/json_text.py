"""JSON that a person gives."""

from __future__ import annotations

import json
import math
from typing import Any

from orchestrator.entrypoints.cli.failure import WrongUsage


def parse(text: str) -> Any:
    """Raises ValueError, also for what JSON cannot say though Python reads it (NaN, 1e999), and too deep nesting."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read(text: str, what: str) -> Any:
    """Raises WrongUsage, which says what is not JSON."""
    try:
        return parse(text)
    except ValueError as error:
        raise WrongUsage(f"{what} is not JSON: {error}") from None


def encoded(data: Any) -> bytes:
    """The body of a request. Raises WrongUsage for what JSON cannot say."""
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise WrongUsage("What is to be sent is not text: it has a character that UTF-8 does not allow.") from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise WrongUsage(f"What is to be sent is not JSON: {reason}") from None


def _refuse(word: str) -> Any:
    raise ValueError(f"it has {word}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value
