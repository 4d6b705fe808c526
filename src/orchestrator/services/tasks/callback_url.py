"""Where a webhook goes. The same reader judges a URL when its task is submitted and when it is called."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from orchestrator.domain.errors import InvalidRequest

LONGEST = 2_000  # characters
SCHEMES = ("http://", "https://")
_SAFE = "/%:@!$&'()*+,;=?~-._"


@dataclass(frozen=True, slots=True)
class CallbackUrl:
    """`path` with its query."""

    host: str
    port: int
    tls: bool
    path: str


def read_callback_url(text: str) -> CallbackUrl:
    """Raises InvalidRequest for what cannot be called."""
    if not text.startswith(SCHEMES) or len(text) > LONGEST or not text.isprintable():
        raise InvalidRequest(f"an http or https URL of at most {LONGEST:,} characters")
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
        name = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        raise InvalidRequest("the URL cannot be read") from None
    if not name or url.username is not None:
        raise InvalidRequest("the URL has no host, or has credentials")
    tls = url.scheme == "https"
    path = quote(url.path or "/", safe=_SAFE) + (f"?{quote(url.query, safe=_SAFE)}" if url.query else "")
    return CallbackUrl(name, (443 if tls else 80) if port is None else port, tls, path)
