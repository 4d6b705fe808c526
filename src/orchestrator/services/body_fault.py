"""What is wrong with a body, said to who sent it: below /api/v1 in the same words everywhere, with the field."""

from __future__ import annotations

import re

import msgspec

from orchestrator.domain.errors import InvalidRequest

UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)  # what decoding raises
MOST_NAMED = 200  # characters of a field's name, which may be the client's own
# An escape of half a character; msgspec calls it a body that ends too soon, or malformed.
_UNPAIRED = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F])", re.DOTALL
)
_NAMED = re.compile(r"Object (?:missing required|contains unknown) field `(.*)`", re.DOTALL)


def wrong(field: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {reason}", details={"field": field})


def unreadable(error: Exception, raw: bytes, inside: str = "") -> InvalidRequest:
    """For one of `UNREADABLE`. `inside` is the field that was decoded, where it was not the whole body."""
    if isinstance(error, msgspec.ValidationError):
        return _misfit(str(error), inside)
    why = beyond(error, raw)
    return InvalidRequest(f"The body {why}." if why else f"The body is not JSON: {error}")


def beyond(error: Exception, raw: bytes) -> str:
    """What is wrong with JSON that is valid and cannot be kept; empty for what is no JSON."""
    if isinstance(error, RecursionError):
        return "is nested too deep"
    return "has an unpaired surrogate" if _UNPAIRED.search(raw) else ""


def _misfit(text: str, inside: str) -> InvalidRequest:
    """Of msgspec's own words, which are a reason and where: " - at `$.tasks[0].priority`"."""
    reason, found, at = text.rpartition(" - at ")
    if not found:
        reason, at = text, ""
    path = at.rpartition("`$")[2].rstrip("`").replace("[...]", "").removeprefix(".")
    place = ".".join(filter(None, (inside, path)))
    named = _NAMED.match(reason)
    field = ".".join(filter(None, (place, named[1]))) if named else place
    said = re.sub("^Object", "object", reason) + (f" - at `{place}`" if place else "")
    return InvalidRequest(said, details={"field": field[:MOST_NAMED]} if field else {})
