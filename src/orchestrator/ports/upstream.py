"""The way out to a model server: one HTTP/1.1 request on a kept-alive connection, answered by callbacks.

The hot path has no task and no future per request, so the port is made of plain calls. `fetch` is the same thing for
slow callers (probes, model management), as a coroutine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.domain.errors import UpstreamError


@dataclass(frozen=True, slots=True)
class Target:
    """Where a node listens. `key` tells connection pools apart; `base_path` has no trailing slash. `name` is the host
    as the server knows it, where `host` is an address that was looked up before."""

    key: str
    host: str
    port: int
    tls: bool = False
    base_path: str = ""
    name: str = ""

    @property
    def host_header(self) -> str:
        """The value of the Host header: the port is named unless it is the scheme's own."""
        default = 443 if self.tls else 80
        host = self.name or self.host
        name = f"[{host}]" if ":" in host else host
        return name if self.port == default else f"{name}:{self.port}"


class ResponseHead:
    """Status line and headers of an answer, parsed as far as the relay needs."""

    __slots__ = ("chunked", "content_length", "content_type", "raw", "status")

    def __init__(self, status: int, raw: bytes, content_type: bytes, content_length: int | None, chunked: bool) -> None:
        self.status = status
        self.raw = raw  # header lines, each ended by CRLF, without the status line and the last empty line
        self.content_type = content_type  # lower-cased
        self.content_length = content_length
        self.chunked = chunked

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, stripped; `name` in lower case."""
        for line in self.raw.split(b"\r\n"):
            key, _, value = line.partition(b":")
            if key.lower() == name:
                return value.strip()
        return None


class Receiver(Protocol):
    """What the caller of `Upstream.send` implements. After `on_end` or `on_error` nothing more is called.

    An UpstreamError raised by `on_head`, `on_data`, `on_end` or `on_whole` ends the call and comes back by `on_error`.
    """

    def on_head(self, head: ResponseHead) -> None: ...

    def on_data(self, raw: bytes, body: bytes) -> None:
        """`body` are content bytes. `raw` are the same bytes as whole HTTP chunks when the answer is chunked,
        fit to be relayed to a client whose answer is chunked too; the last, empty chunk is never included."""

    def on_end(self) -> None:
        """The answer is complete by its own framing."""

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        """In place of the three above, when a whole answer with a body came in one piece."""
        self.on_head(head)
        self.on_data(body, body)
        self.on_end()

    def on_error(self, error: UpstreamError) -> None:
        """The answer will not come, or not to its end."""

    def broken(self, error: Exception) -> None:
        """A method above raised what it should not: the call is over."""


class Call(Protocol):
    """One request under way."""

    def cancel(self) -> None:
        """Closes the connection, so that the server notices at once. The receiver hears nothing more."""

    def hand_over(self, receiver: Receiver) -> None:
        """From now on the answer goes to `receiver`. For a call whose receiver has not heard of an answer yet."""

    def pause(self) -> None:
        """Stops reading the answer until `resume`: the client is slower than the server."""

    def resume(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FetchResponse:
    """A whole answer, as `Upstream.fetch` returns it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Upstream(Protocol):
    """Sends requests to nodes."""

    def send(
        self, target: Target, head: bytes, body: bytes | bytearray, receiver: Receiver, connect_timeout: float
    ) -> Call:
        """Sends a whole request. Never raises; failures arrive by `receiver.on_error`:
        ConnectFailed, UpstreamTimeout while connecting, Truncated, MalformedAnswer."""

    async def fetch(
        self,
        target: Target,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float,
        max_body: int = 32 << 20,
    ) -> FetchResponse:
        """One request, the answer whole. Raises the errors of `send`, and UpstreamTimeout after `timeout` seconds."""

    def keep_idle(self, count: int) -> None:
        """How many idle connections to one target are kept from now on."""

    def forget(self, target: Target) -> None:
        """Closes the idle connections to a target that is gone."""

    async def close(self) -> None: ...
