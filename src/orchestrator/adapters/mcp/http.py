"""Servers at a URL: every connection goes to the address that was judged, no redirect is followed, and answers are
bounded and never unpacked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from orchestrator import __version__
from orchestrator.domain.mcp import McpServer
from orchestrator.ports.mcp import Pinned

MOST_BODY = 32 << 20  # bytes of an answer that is not a stream of events
SILENCE = 300.0  # seconds that a stream of events may be silent
USUAL_PORTS = {"http": 80, "https": 443}


@asynccontextmanager
async def reached(server: McpServer, pinned: Pinned | None, timeout: float) -> AsyncGenerator[TransportStreams]:
    """The streams of a server at a URL."""
    client = httpx2.AsyncClient(
        transport=PinnedTransport(server.url, pinned),
        headers={"User-Agent": f"orchestrator/{__version__}", **server.headers, "Accept-Encoding": "identity"},
        timeout=httpx2.Timeout(timeout, read=SILENCE),
        follow_redirects=False,
        trust_env=False,
    )
    async with client, streamable_http_client(server.url, http_client=client) as streams:
        yield streams


class PinnedTransport(httpx2.AsyncBaseTransport):
    """Requests to one origin, at one address."""

    def __init__(self, url: str, pinned: Pinned | None) -> None:
        self._origin = _origin(httpx2.URL(url))
        self._pinned = pinned
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False, retries=0)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if _origin(request.url) != self._origin:
            raise httpx2.UnsupportedProtocol(f"Not where this server is: {request.url.host}")
        if self._pinned is not None:
            host = request.url.host
            request.extensions = {**request.extensions, "sni_hostname": host}
            request.url = request.url.copy_with(host=self._pinned.address)
        response = await self._inner.handle_async_request(request)
        response.headers.pop("location", None)  # a redirect is an answer like any other: an error
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.DecodingError("The answer is compressed, which was not asked for.")
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = BoundedStream(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class BoundedStream(httpx2.AsyncByteStream):
    """A body that breaks off when it is too large."""

    def __init__(self, inner: object) -> None:
        if not isinstance(inner, httpx2.AsyncByteStream):
            raise TypeError("not a stream of an asynchronous transport")
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BODY
        async for piece in self._inner:
            left -= len(piece)
            if left < 0:
                raise httpx2.ReadError(f"The answer is over {MOST_BODY} bytes.")
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host.lower(), url.port or USUAL_PORTS.get(url.scheme)
