"""Requests of built-in tools: through the one way out, with its errors as those of a tool."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from orchestrator.domain.errors import (
    InvalidRequest,
    ToolCrashed,
    ToolFailed,
    ToolTimeout,
    UpstreamError,
    UpstreamTimeout,
)
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.egress import Egress, Fetched

MAX_BODY = 8 << 20  # bytes of an answer
AGENT = "Orchestrator"
READING = 10.0  # seconds for a page that is there


async def visited(
    egress: Egress,
    method: str,
    url: str,
    timeout: float,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    redirects: int = 0,
    most: int = MAX_BODY,
) -> Fetched:
    """Raises InvalidRequest for a URL that is wrong or not allowed, ToolTimeout, ToolCrashed where no answer comes."""
    known = {name.lower() for name in headers or {}}
    sent = {**({} if "user-agent" in known else {"User-Agent": AGENT}), **(headers or {})}
    try:
        return await egress.fetch(
            method, url, headers=sent, body=body, timeout=timeout, max_body=most, redirects=redirects
        )
    except UpstreamTimeout:
        raise ToolTimeout(f"No answer from {host_of(url)} within {timeout:g} s.") from None
    except UpstreamError as error:
        words = error.message.replace("The node", "the server").replace("the node", "the server")
        raise ToolCrashed(f"{host_of(url)}: {words}") from None


async def read_apart(apart: Apart, function: str, patience: float, **given: Any) -> dict[str, Any]:
    """A page as a process reads it. Some pages are made to take for ever: the process is ended after `patience`
    seconds. Raises ToolFailed."""
    try:
        async with asyncio.timeout(patience):
            return await apart.call(function, **given)
    except TimeoutError:
        raise ToolFailed(f"The page could not be read within {patience:g} s.") from None


def host_of(url: str) -> str:
    return (urlsplit(url).netloc.rpartition("@")[2] or "the server")[:300]


def plain_url(url: str, params: Mapping[str, Any] | None = None) -> str:
    """The URL with more parameters, and with what is no ASCII percent-encoded. Raises InvalidRequest."""
    try:
        parts = urlsplit(url.strip())
        host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    except (ValueError, UnicodeError):
        raise InvalidRequest("url: cannot be read", details={"field": "url"}) from None
    query = quote(parts.query, safe="%/:?#[]@!$&'()*+,;=-._~")
    if params:
        more = urlencode(_flat(params), doseq=True)
        query = f"{query}&{more}" if query else more
    return urlunsplit((parts.scheme, host, quote(parts.path, safe="%/:@!$&'()*+,;=-._~"), query, ""))


def _flat(params: Mapping[str, Any]) -> dict[str, Any]:
    """Truth values as JSON has them; null is left out."""

    def text(value: Any) -> Any:
        return str(value).lower() if isinstance(value, bool) else value

    return {
        name: [text(one) for one in value] if isinstance(value, list) else text(value)
        for name, value in params.items()
        if value is not None
    }
