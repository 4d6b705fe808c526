"""What sections are made of: the frozen base, the declaration of a key, and types for times and sizes."""

from __future__ import annotations

import re
import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
DURATION_PATTERN = r"^\s*(\d+(\.\d+)?|(\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+)\s*$"
_DURATION = re.compile(DURATION_PATTERN)

_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": 1024,
    "kib": 1024,
    "kb": 1000,
    "m": 1024**2,
    "mib": 1024**2,
    "mb": 1000**2,
    "g": 1024**3,
    "gib": 1024**3,
    "gb": 1000**3,
}
SIZE_PATTERN = r"^\s*\d+(\.\d+)?\s*([kKmMgG]?[iI]?[bB]?)\s*$"
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*\Z")


def seconds(value: object) -> object:
    """Turns "250ms", "30s", "5m", "1h30m" or "2.5" into seconds; passes anything else on to the next check."""
    if not isinstance(value, str):
        return value
    if not _DURATION.match(value):
        raise ValueError('must be a number of seconds, or a text such as "30s", "5m" or "250ms"')
    parts = _DURATION_PART.findall(value)
    if not parts:
        return float(value)
    # Rounded to the nanosecond, so that "100ms" is 0.1 and not 0.1 plus a rounding error.
    return round(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts), 9)


def size(value: object) -> object:
    """Turns "64MiB", "10MB" or "65536" into bytes; passes anything else on to the next check."""
    if not isinstance(value, str):
        return value
    match = _SIZE.match(value)
    if match is None or match[2].lower() not in _SIZE_UNITS:
        raise ValueError('must be a number of bytes, or a text such as "64MiB" or "10MB"')
    return int(float(match[1]) * _SIZE_UNITS[match[2].lower()])


def one_or_many(value: object) -> object:
    """Turns one text into a list of one."""
    return (value,) if isinstance(value, str) else value


Duration = Annotated[
    float,
    BeforeValidator(
        seconds, json_schema_input_type=Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=DURATION_PATTERN)]
    ),
]
Size = Annotated[
    int,
    BeforeValidator(
        size, json_schema_input_type=Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=SIZE_PATTERN)]
    ),
]
Names = Annotated[tuple[str, ...], BeforeValidator(one_or_many, json_schema_input_type=str | list[str])]


class Section(BaseModel):
    """Frozen; refuses keys it does not know. Problems are reported without the text of what was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: object, info: ValidationInfo) -> object:
        # Pydantic reads `port: true` as port 1.
        if isinstance(value, bool) and info.field_name is not None:
            kinds = set(members(cls.model_fields[info.field_name].annotation))
            if kinds & {int, float} and bool not in kinds:
                raise ValueError("must be a number, not true or false")
        return value


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union, without None and without what annotates them; one of them if it is no union."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(bare(part) for part in get_args(annotation) if part is not type(None))
    return (bare(annotation),)


def bare(annotation: Any) -> Any:
    """The type inside Annotated."""
    return bare(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def optional(annotation: Any) -> bool:
    """Whether None is a value."""
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def setting(
    default: Any = ...,
    description: str = "",
    *,
    live: bool = False,
    secret: bool = False,
    factory: Any = None,
    **constraints: Any,
) -> Any:
    """One key. `live` keys take effect while the service runs; a `secret` never leaves the process in clear."""
    extra: dict[str, Any] = {}
    if live:
        extra["live"] = True
    if secret:
        extra["secret"] = True
    if factory is not None:
        return Field(default_factory=factory, description=description, json_schema_extra=extra, **constraints)
    return Field(default, description=description, json_schema_extra=extra, **constraints)
