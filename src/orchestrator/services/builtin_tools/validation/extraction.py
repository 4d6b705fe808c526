"""Data found in a text: JSON in it, or lines such as `Name: value`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

MOST_STARTS = 200  # brackets that are looked at
_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_LINE = re.compile(
    r"^[ \t]*(?:[-*+][ \t]+|\d{1,4}[.)][ \t]+)?[*_`\"']{0,3}([^\W\d][\w .()/-]{0,80}?)[*_`\"']{0,3}[ \t]*[:=](.*)$"
)


def found_json(text: str, wanted: type) -> Any:
    """The first JSON value of a kind in fenced blocks, or anywhere; None where there is none."""
    decoder = json.JSONDecoder(parse_constant=_refused)
    for block in (*_FENCE.findall(text), text):
        for start in _starts(block, "[" if wanted is list else "{"):
            try:
                value, _ = decoder.raw_decode(block, start)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, wanted):
                return value
    return None


def _refused(name: str) -> None:
    raise ValueError(name)


def _starts(text: str, bracket: str) -> Iterator[int]:
    at = -1
    for _ in range(MOST_STARTS):
        at = text.find(bracket, at + 1)
        if at < 0:
            return
        yield at


def found_fields(text: str, schema: Mapping[str, Any]) -> dict[str, str]:
    """Values of lines whose name is that of a property, in any case, with blanks or dashes for underscores. The first
    line of a name counts."""
    properties = schema.get("properties")
    names = {_plain(name): name for name in properties} if isinstance(properties, Mapping) else {}
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.match(line[:2_000])
        name = names.get(_plain(match[1])) if match else None
        if match and name is not None and name not in found:
            found[name] = match[2].strip().strip("*_`\"'").rstrip(",").strip().strip("\"'")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
