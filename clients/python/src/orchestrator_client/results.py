"""What a handler returned, as the service keeps it."""

from __future__ import annotations

import json
from typing import Any

from orchestrator_client.handlers import Permanent

MAX_RESULT = 64 << 20  # bytes that the service takes; above 1 MiB it keeps them as an artifact


def encode(result: Any) -> str:
    """As JSON. Raises Permanent for what the service cannot keep."""
    try:
        text = json.dumps(result, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise Permanent(f"the result is not JSON: {error}") from None
    if size > MAX_RESULT:
        raise Permanent(f"the result is too large: {size:,} bytes, at most {MAX_RESULT:,} are kept")
    return text
