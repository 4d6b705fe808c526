"""The one way out to a URL that somebody named: the host is looked up here and judged by its addresses, and the
connection goes to the address that was judged, so a name that changes meanwhile gains nothing. Redirects are followed
only where that is asked for, each as a URL of its own. Answers are asked for uncompressed, and never unpacked."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from orchestrator.domain.errors import ConnectFailed, InvalidRequest, UpstreamTimeout
from orchestrator.domain.http_hosts import HttpHosts
from orchestrator.domain.worker_hosts import Address, is_host, read_address
from orchestrator.ports.upstream import FetchResponse, Target, Upstream

PORTS = {"http": 80, "https": 443}
MOST_REDIRECTS = 5
MOST_URL = 8_192  # characters
REFUSED = frozenset(
    {"host", "content-length", "connection", "transfer-encoding", "upgrade", "te", "trailer", "expect", "keep-alive"}
)
# What goes to another origin after a redirect; everything else may be a credential.
HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "user-agent", "content-type"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\x20-\x7e\t]*\Z")
_MOVED = frozenset({301, 302, 303, 307, 308})

Resolver = Callable[[str, int], Awaitable[Iterable[str]]]


class HostRule(Protocol):
    """What the operator allows."""

    def permits(self, host: str, address: Address) -> bool:
        """Whether a connection may go to this address of this host."""


@dataclass(frozen=True, slots=True)
class Fetched(FetchResponse):
    """An answer, and the URL that it came from."""

    url: str = ""


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name, as text. Raises ConnectFailed."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectFailed(f"'{host}': {getattr(error, 'strerror', None) or error}") from None
    return [str(entry[4][0]).partition("%")[0] for entry in found]


async def allowed_address(host: str, port: int, rule: HostRule, resolve: Resolver = look_up) -> Address | None:
    """The first address of a host that the rule permits. Raises ConnectFailed for a name that leads nowhere."""
    literal = read_address(host)
    found = [str(literal)] if literal is not None else await resolve(host, port)
    for text in found:
        address = read_address(text)
        if address is not None and rule.permits(host, address):
            return address
    return None


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL says: `path` with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host.lower(), self.port


def read_url(url: str) -> Place:
    """Raises InvalidRequest for what is not an http or https URL, or can be read in two ways."""
    if len(url) > MOST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidRequest(f"url: at most {MOST_URL} characters; other characters than ASCII must be percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        raise InvalidRequest("url: cannot be read") from None
    host = parts.hostname or ""
    if parts.scheme not in PORTS or not is_host(host) or "@" in parts.netloc:
        raise InvalidRequest("url: http://HOST[:PORT]/PATH or https, without a user name")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(parts.scheme, host, port, path)


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A copy that asks for an uncompressed answer. Raises InvalidRequest for a name or value that could end a line or
    that frames the request."""
    for name, value in headers.items():
        if name.lower() in REFUSED or not _TOKEN.match(name):
            raise InvalidRequest(f"headers: {name[:100]!r} cannot be set")
        if not _VALUE.match(value):
            raise InvalidRequest(f"headers: the value of {name[:100]!r} must be one line of ASCII")
    known = dict(headers)
    if not any(name.lower() == "accept-encoding" for name in known):
        known["Accept-Encoding"] = "identity"
    return known


def _joined(url: str, location: str) -> str:
    """Where a redirect leads. Raises InvalidRequest for one that can be read in two ways."""
    try:
        if location.isascii() and location.isprintable():
            return urljoin(url, location).partition("#")[0]
    except ValueError:
        pass
    raise InvalidRequest("url: redirects to what is not a URL")


class Egress:
    """Connects where the operator's rule permits, and nowhere else."""

    def __init__(self, upstream: Upstream, hosts: HttpHosts, setting: str, resolve: Resolver = look_up) -> None:
        """`hosts` is the operator's rule, from this `setting`; it may be replaced at any time. Without entries nothing
        is allowed."""
        self.hosts = hosts
        self._upstream = upstream
        self._setting = setting
        self._resolve = resolve
        self._number = count()

    async def target(self, url: str) -> tuple[Target, str]:
        """Where a URL leads now, and its path with the query. The target is at the address that was judged, and has a
        key of its own. Raises InvalidRequest for a URL that is wrong or not allowed, ConnectFailed for a name that
        leads nowhere."""
        return await self._target(read_url(url))

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float,
        max_body: int = 32 << 20,
        redirects: int = 0,
    ) -> Fetched:
        """One request, the answer whole. `timeout` in seconds, for everything; `redirects` (at most 5): how many are
        followed, each judged anew; behind the last the redirect itself is the answer. Raises as `target` and
        `Upstream.fetch` do."""
        if not _TOKEN.match(method):
            raise InvalidRequest("method: not one of HTTP")
        sent = checked_headers(headers or {})
        try:
            async with asyncio.timeout(timeout):
                return await self._followed(method, url, sent, body, timeout, max_body, min(redirects, MOST_REDIRECTS))
        except TimeoutError:
            raise UpstreamTimeout(f"No answer within {timeout:g} s.") from None

    async def _followed(
        self, method: str, url: str, headers: dict[str, str], body: bytes, timeout: float, max_body: int, redirects: int
    ) -> Fetched:
        while True:
            place = read_url(url)
            target, path = await self._target(place)
            try:
                answer = await self._upstream.fetch(
                    target, method, path, headers=headers, body=body, timeout=timeout, max_body=max_body
                )
            finally:
                self._upstream.forget(target)
            location = answer.headers.get("location")
            if answer.status not in _MOVED or location is None or redirects <= 0:
                return Fetched(answer.status, answer.headers, answer.body, url)
            redirects -= 1
            url = _joined(url, location)
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
            if read_url(url).origin != place.origin:
                headers = {name: value for name, value in headers.items() if name.lower() in HARMLESS}

    async def _target(self, place: Place) -> tuple[Target, str]:
        if not self.hosts:
            raise InvalidRequest(f"url: connections are off: the operator has named no hosts ({self._setting})")
        address = await allowed_address(place.host, place.port, self.hosts, self._resolve)
        if address is None:
            raise InvalidRequest(f"url: '{place.host}' is not where connections may go to ({self._setting})")
        # A key of its own: no connection is shared, so no request is ever sent twice.
        key = f"egress:{next(self._number)}:{place.host}:{address}:{place.port}"
        return Target(key, str(address), place.port, place.scheme == "https", name=place.host), place.path
