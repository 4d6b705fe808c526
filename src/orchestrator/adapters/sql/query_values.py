"""Values of databases as JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID


def json_value(value: Any) -> Any:
    """Numbers, texts, truth values and null are themselves. Bytes are `{"base64": ...}`; decimals, dates, UUIDs and all
    else are texts, so that nothing is lost; what JSON has no number for is a text, too."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): json_value(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_value(one) for one in value]
    return str(value)


def postgres_value(value: Any, kind: str) -> Any:
    """A JSON value as asyncpg takes it for a type. Raises ValueError."""
    if isinstance(value, str):
        if kind in ("timestamp", "timestamptz"):
            return datetime.fromisoformat(value)
        if kind == "date":
            return date.fromisoformat(value)
        if kind in ("time", "timetz"):
            return time.fromisoformat(value)
        if kind == "bytea":
            return base64.b64decode(value, validate=True)
    if kind == "numeric" and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return Decimal(str(value))
    if kind == "interval" and isinstance(value, (int, float)):
        return timedelta(seconds=value)
    return value
