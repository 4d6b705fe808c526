"""The way back to the caller of the gateway: one HTTP answer, written by callbacks."""

from __future__ import annotations

from typing import Protocol


class ClientSide(Protocol):
    """One answer to one client. `headers` are whole lines, each ended by CRLF, without framing headers."""

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """A whole answer with a Content-Length. Ends the exchange."""

    def begin(self, status: int, headers: bytes) -> None:
        """Starts an answer of unknown length."""

    def relay(self, raw: bytes, body: bytes) -> None:
        """Bytes of a chunked answer: `raw` are whole HTTP chunks around `body`. Either may be put on the wire."""

    def write(self, body: bytes) -> None:
        """Content bytes that have no framing yet. Never empty."""

    def end(self) -> None:
        """The clean end of an answer that `begin` started."""

    def abort(self) -> None:
        """Breaks the connection off, so that no client takes what it has for a whole answer."""
