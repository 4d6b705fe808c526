"""Filters of the pipeline language (pipelines contract, 1.8) beside Jinja's own."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from jinja2 import Undefined

MOST_PATTERN = 1_000  # characters of a regular expression


class FilterProblem(Exception):
    """A filter was given what it cannot work on."""


def slugify(value: Any, separator: str = "-") -> str:
    plain = unicodedata.normalize("NFKD", str(value)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", lambda _: separator, plain.lower()).strip(separator)


def truncate_words(value: Any, count: int = 50, end: str = "...") -> str:
    words = str(value).split()
    return " ".join(words) if len(words) <= count else " ".join(words[:count]) + end


def regex_search(value: Any, pattern: str, group: int | str = 0) -> str | None:
    """What the pattern finds first, or one of its groups; None where it finds nothing."""
    found = _compiled(pattern).search(str(value))
    try:
        return None if found is None else found.group(group)
    except IndexError:
        raise FilterProblem(f"regex_search: there is no group {group!r}") from None


def regex_replace(value: Any, pattern: str, replacement: str = "") -> str:
    try:
        return _compiled(pattern).sub(replacement, str(value))
    except (re.error, IndexError) as error:
        raise FilterProblem(f"regex_replace: {error}") from None


def _compiled(pattern: str) -> re.Pattern[str]:
    if len(pattern) > MOST_PATTERN:
        raise FilterProblem(f"a pattern may have {MOST_PATTERN:,} characters")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise FilterProblem(f"the pattern {pattern!r} cannot be read: {error}") from None


def to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(_there(value), ensure_ascii=False, indent=indent)


def from_json(value: Any) -> Any:
    try:
        return json.loads(str(value))
    except ValueError as error:
        raise FilterProblem(f"from_json: {error}") from None


def date(value: Any, form: str = "%Y-%m-%d") -> str:
    """Of seconds since the epoch, or of a text in ISO 8601; `form` as of strftime. UTC where no zone is told."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            moment = datetime.fromtimestamp(value, UTC)
        else:
            moment = datetime.fromisoformat(str(value).strip())
    except (ValueError, OverflowError, OSError):
        raise FilterProblem(f"date: {str(value)[:100]!r} is no time") from None
    return moment.strftime(form)


def markdown_format(value: Any) -> str:
    """Lists as bullets, objects as bold names with their values, other values as text."""
    value = _there(value)
    if isinstance(value, dict):
        return "\n".join(f"- **{name}**: {_inline(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return "\n".join(f"- {_inline(one)}" for one in value)
    return str(value).strip()


def _inline(value: Any) -> str:
    return to_json(value) if isinstance(value, (dict, list, tuple)) else str(value)


def basename(value: Any) -> str:
    return str(value).replace("\\", "/").rstrip("/").rpartition("/")[2]


def split(value: Any, separator: str | None = None) -> list[str]:
    return str(value).split(separator)


def join(value: Iterable[Any], separator: str = ", ", attribute: str | None = None) -> str:
    if isinstance(value, str):
        return value
    parts = value if attribute is None else (one.get(attribute, "") if isinstance(one, dict) else "" for one in value)
    return separator.join(str(part) for part in parts)


def last(value: Any) -> Any:
    """Of a list, a text or anything else that has an order; empty for nothing."""
    parts = value if isinstance(value, (str, list, tuple)) else list(value)
    return parts[-1] if parts else ""


def _there(value: Any) -> Any:
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()
    return value


FILTERS: dict[str, Callable[..., Any]] = {
    "slugify": slugify,
    "truncate_words": truncate_words,
    "regex_search": regex_search,
    "regex_replace": regex_replace,
    "to_json": to_json,
    "json": to_json,
    "json_encode": to_json,
    "from_json": from_json,
    "date": date,
    "strftime": date,
    "markdown_format": markdown_format,
    "basename": basename,
    "split": split,
    "join": join,
    "last": last,
}
