"""Checks URLs that an operator gives."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from pydantic import AfterValidator

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_DECODE_LIMIT = 5  # rounds of percent-decoding, as the fleet contract's normalisation does them


def split(url: str) -> SplitResult:
    """The parts of an http or https URL. Raises ValueError with the reason; never repeats a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL: write it like http://127.0.0.1:11434") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    if not parts.hostname or any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError("is not a URL: write it like http://127.0.0.1:11434")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password: put the key into api_key")
    if port == 0:
        raise ValueError("has a port outside 1-65535")
    return parts


def normal_url(url: str) -> str:
    """scheme://host[:port][/base] without a trailing slash. Raises ValueError."""
    url = url.strip()
    for _ in range(_DECODE_LIMIT):
        decoded = unquote(url)
        if decoded == url:
            break
        url = decoded
    parts = split(url)
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path.rstrip("/"), "", ""))


def loopback(host: str) -> bool:
    """Whether only this machine can reach a listener bound to `host`. A name other than localhost counts as open."""
    host = host.strip("[]").lower()
    if host in LOOPBACK_NAMES:
        return True
    octets = host.split(".")
    return len(octets) == 4 and octets[0] == "127" and all(o.isdecimal() and int(o) < 256 for o in octets)


NormalUrl = Annotated[str, AfterValidator(normal_url)]
