"""A whole answer as one awaitable, for callers that are not on the hot path."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from orchestrator.domain.errors import InvalidRequest, MalformedAnswer, UpstreamError
from orchestrator.ports.upstream import Call, FetchResponse, Receiver, ResponseHead, Target


class Fetch(Receiver):
    """Collects one answer into a future."""

    __slots__ = ("_body", "_head", "_max_body", "call", "done")

    def __init__(self, done: asyncio.Future[FetchResponse], max_body: int) -> None:
        self.done = done
        self.call: Call | None = None
        self._head: ResponseHead | None = None
        self._body = bytearray()
        self._max_body = max_body

    @staticmethod
    def request_head(target: Target, method: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
        """The request line and headers. Raises InvalidRequest for a path or header that could split the request."""
        lines = [f"{method} {target.base_path}{path} HTTP/1.1", f"Host: {target.host_header}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if length or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {length}")
        if any(not line.isprintable() for line in lines) or " " in path:
            raise InvalidRequest("A path or header for the node has a character that HTTP does not allow.")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "strict")

    def on_head(self, head: ResponseHead) -> None:
        self._head = head

    def on_data(self, raw: bytes, body: bytes) -> None:
        self._body += body
        if len(self._body) > self._max_body and self.call is not None:
            self.call.cancel()
            self.on_error(MalformedAnswer(f"The node's answer is longer than {self._max_body} bytes."))

    def on_end(self) -> None:
        head = self._head
        if head is None or self.done.done():
            return
        headers: dict[str, str] = {}
        for line in head.raw.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon:
                headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        self.done.set_result(FetchResponse(head.status, headers, bytes(self._body)))

    def broken(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def on_error(self, error: UpstreamError) -> None:
        if not self.done.done():
            self.done.set_exception(error)
