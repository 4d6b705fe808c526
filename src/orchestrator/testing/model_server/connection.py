"""One client connection: HTTP/1.1 requests in, bytes out, and the ways to end it."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from functools import partial
from typing import Protocol, cast
from urllib.parse import unquote

import httptools

from orchestrator.testing.model_server.request import Request
from orchestrator.testing.model_server.wire import CONTINUE, head

_log = logging.getLogger(__name__)

MAX_BODY = 512 * 1024 * 1024
_MAX_PIPELINED = 64
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Answering(Protocol):
    """An answer that takes time."""

    async def run(self) -> None:
        """Send it."""

    def finish(self, *, disconnected: bool) -> None:
        """It is over, whether `run` came to its end or not even to its beginning."""


class Receiver(Protocol):
    """Who answers the requests of a connection."""

    def opened(self, connection: Connection) -> None:
        """A client has connected."""

    def receive(self, connection: Connection, request: Request) -> Answering | None:
        """Answer `request` at once, or return what will."""

    def closed(self, connection: Connection) -> None:
        """The connection is gone."""


class Connection(asyncio.Protocol):
    """Requests are answered one after another in the order they came; a client that leaves cancels its answer."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._paused = False
        self._reading = True
        self._busy = False
        self._deaf = False
        self._target = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self.lost = False
        self.ending = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Writes are reported as drained only when nothing is left in the process, so a fault comes after its bytes."""
        # A cast, because uvloop's transports are no subclasses.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)
        self._receiver.opened(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; bytes that are no HTTP get 400."""
        if self.ending or self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = True
            if not self._busy:
                self.close()
        except httptools.HttpParserError:
            self._refuse(400)

    def eof_received(self) -> bool:
        """A client that closes its side has left, as far as can be told."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop answering."""
        self.lost = True
        self._waiting.clear()
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError())
        if self._task is not None:
            self._task.cancel()
        self._receiver.closed(self)

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """Everything written has left the process."""
        self._paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._target, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The client may wait for leave to send its body."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._size += len(body)
        if self._size > MAX_BODY:
            self._refuse(413)
        elif not self.ending:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """A whole request is here."""
        if self.ending:
            return
        url = httptools.parse_url(self._target)
        path = url.path or b"/"
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            path=unquote(path.decode("latin-1")) if b"%" in path else path.decode("latin-1"),
            query=(url.query or b"").decode("latin-1"),
            headers=self._headers,
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            http10=self._parser.get_http_version() == "1.0",
            keep_alive=bool(self._parser.should_keep_alive()),
        )
        self._waiting.append(request)
        if self._busy and len(self._waiting) >= _MAX_PIPELINED and self._reading:
            self._transport.pause_reading()
            self._reading = False
        self._next()

    # What an answer calls.

    def write(self, data: bytes) -> None:
        """Send `data`, or raise ConnectionResetError when there is nobody to send it to."""
        if self.lost:
            raise ConnectionResetError
        self._transport.write(data)

    async def flush(self) -> None:
        """Wait until the operating system has taken every byte written."""
        if self.lost:
            raise ConnectionResetError
        if self._paused:
            self._drained = asyncio.get_running_loop().create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def reset(self) -> None:
        """End the connection by RST, at once."""
        self.ending = True
        raw = self._transport.get_extra_info("socket")
        if raw is not None and not self.lost:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def close(self) -> None:
        """End the connection by FIN, after what was written."""
        self.ending = True
        self._transport.close()

    def half_close(self) -> None:
        """Send FIN, but keep the connection until the client closes it."""
        self.ending = True
        self._transport.write_eof()

    def _next(self) -> None:
        while self._waiting and not self._busy and not self.lost and not self.ending:
            request = self._waiting.popleft()
            self._busy = True
            answering = self._receiver.receive(self, request)
            if answering is not None:
                self._task = asyncio.get_running_loop().create_task(answering.run())
                self._task.add_done_callback(partial(self._ended, answering, request))
                return
            self._answered(request)
        if not self._reading and not self._waiting and not self.lost:
            self._reading = True
            self._transport.resume_reading()

    def _ended(self, answering: Answering, request: Request, task: asyncio.Task[None]) -> None:
        # A callback and not the task's own `finally`: a task cancelled before its first step never gets there.
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ConnectionError):
            _log.error("the model server failed to answer %s %s", request.method, request.path, exc_info=error)
            self.reset()
        answering.finish(disconnected=self.lost and not self.ending)
        self._answered(request)
        self._next()

    def _answered(self, request: Request) -> None:
        self._busy = False
        if not self.ending and not self.lost and (self._deaf or not request.keep_alive):
            self.close()

    def _refuse(self, status: int) -> None:
        if not self._busy:
            self._transport.write(head(status, "text/plain", length=0, close=True))
        self.close()
