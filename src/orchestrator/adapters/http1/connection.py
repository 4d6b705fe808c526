"""One kept-alive connection to a model server, and the request that it carries."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, cast

from orchestrator.adapters.http1.framing import ChunkedBody
from orchestrator.domain.errors import ConnectFailed, MalformedAnswer, Truncated, UpstreamError
from orchestrator.ports.upstream import Receiver, ResponseHead, Target

if TYPE_CHECKING:
    from orchestrator.adapters.http1.pool import ConnectionPool

MAX_HEAD = 64 * 1024
_JOIN_BELOW = 64 * 1024  # below this size one write of a copy beats two writes

# Each finds every line of its name, those next to each other and those with a blank before the colon too.
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)")
_CODING = re.compile(rb"\r\ntransfer-encoding[ \t]*:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)")
_TYPE = re.compile(rb"\r\ncontent-type:[ \t]*([^\r\n]*?)[ \t]*\r\n")
_CONNECTION = re.compile(rb"\r\nconnection:[ \t]*([^\r\n]*?)[ \t]*\r\n")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?\r\n")


class PooledCall:
    """A request under way: the handle that the sender holds. See `ports.upstream.Call`."""

    __slots__ = ("answered", "bodiless", "body", "connection", "head", "pool", "receiver", "reused", "target")

    def __init__(
        self, pool: ConnectionPool, target: Target, head: bytes, body: bytes | bytearray, receiver: Receiver
    ) -> None:
        self.pool = pool
        self.target = target
        self.head = head
        self.body = body
        self.receiver: Receiver | None = receiver  # None: cancelled or over
        self.connection: Connection | None = None
        self.reused = False
        self.answered = False
        self.bodiless = False  # an answer to HEAD has headers only

    def cancel(self) -> None:
        self.receiver = None
        connection = self.connection
        if connection is not None:
            self.connection = None
            connection.abandon()

    def hand_over(self, receiver: Receiver) -> None:
        if self.receiver is not None:
            self.receiver = receiver

    def pause(self) -> None:
        if self.connection is not None:
            self.connection.pause_reading()

    def resume(self) -> None:
        if self.connection is not None:
            self.connection.resume_reading()

    def fail(self, error: UpstreamError) -> None:
        receiver = self.receiver
        self.receiver = self.connection = None
        if receiver is not None:
            try:
                receiver.on_error(error)
            except Exception as problem:  # noqa: BLE001 - process edge: the receiver logs it
                receiver.broken(problem)


class Connection(asyncio.Protocol):
    """Carries one request at a time; idle connections wait in the pool."""

    __slots__ = (
        "_buffer",
        "_call",
        "_chunked",
        "_keep",
        "_large",
        "_last",
        "_last_head",
        "_left",
        "_paused",
        "_pool",
        "_reading_body",
        "closed",
        "idle_since",
        "target",
        "transport",
    )

    def __init__(self, pool: ConnectionPool, target: Target) -> None:
        self._pool = pool
        self.target = target
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self._call: PooledCall | None = None
        self._buffer = b""
        self._reading_body = False
        self._chunked: ChunkedBody | None = None
        self._left: int | None = None  # content bytes to come; None without a Content-Length
        self._keep = True
        self._paused = False
        self._last: ResponseHead | None = None  # the last answer's head, and its bytes
        self._last_head = b""
        self._large = False
        self.closed = False
        self.idle_since = 0.0

    def start(self, call: PooledCall) -> None:
        """Sends the call's request."""
        self._call = call
        call.connection = self
        self._buffer = b""
        self._reading_body = False
        head, body = call.head, call.body
        self._large = len(body) > _JOIN_BELOW
        if self._large:
            self.transport.write(head)
            self.transport.write(body)
        else:
            self.transport.write(head + body)

    def abandon(self) -> None:
        """Closes at once, so that the server stops working on the request."""
        self._call = None
        self.closed = True
        self.transport.abort()

    def pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        call = self._call
        if call is None:  # an idle connection has nothing to say
            self._pool.discard(self)
            self.abandon()
            return
        receiver = call.receiver
        try:
            if not self._reading_body:
                self._head(call, self._buffer + data if self._buffer else data)
            elif self._chunked is None:
                self._body(call, data)
            else:
                raw, body, rest = self._chunked.feed(data)
                if body and receiver is not None:
                    receiver.on_data(raw, body)
                if rest is not None and self._call is call:
                    self._finish(call, rest)
        except UpstreamError as error:
            self.abandon()
            call.receiver = receiver  # also when the answer was over but for what the receiver made of it
            call.fail(error)
        except Exception as error:  # noqa: BLE001 - process edge: the receiver logs it
            self.abandon()
            call.receiver = call.connection = None
            if receiver is not None:
                receiver.broken(error)

    def _head(self, call: PooledCall, data: bytes) -> None:
        last = self._last_head
        if last and data.startswith(last) and not call.bodiless:  # word for word as before
            head = self._last
            assert head is not None
            self._left = head.content_length
            self._chunked = ChunkedBody() if head.chunked else None
            self._answer(call, head, data[len(last) :])
            return
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > MAX_HEAD:
                raise MalformedAnswer("The node's response headers are too long.")
            if not data.startswith(b"HTTP/1."[: len(data)]):
                raise MalformedAnswer("The node does not speak HTTP/1.1.")
            self._buffer = data
            call.answered = True
            return
        status_line = _STATUS.match(data)
        if status_line is None:
            raise MalformedAnswer("The node does not speak HTTP/1.1.")
        status = int(status_line[2])
        if status < 200:
            self._buffer = b""
            if len(data) > end + 4:
                self._head(call, data[end + 4 :])
            return
        head = self._framing(call, status, data[status_line.end() - 2 : end + 2], status_line[1])
        if self._keep and not call.bodiless:
            self._last, self._last_head = head, data[: end + 4]
        self._answer(call, head, data[end + 4 :])

    def _answer(self, call: PooledCall, head: ResponseHead, rest: bytes) -> None:
        call.answered = True
        call.body = b""  # from here on nothing is sent again on another connection
        self._buffer = b""
        self._reading_body = True
        if rest and self._left == len(rest):  # the whole answer, as nearly always when it is not a stream
            self._release(call, b"")
            self._end(call, head, rest)
            return
        receiver = call.receiver
        assert receiver is not None
        receiver.on_head(head)
        if self._left == 0:
            self._finish(call, rest)
        elif rest and self._call is call:
            self._body(call, rest)

    def _framing(self, call: PooledCall, status: int, lines: bytes, version: bytes) -> ResponseHead:
        """Decides how the body ends (RFC 9112 section 6.3); refuses what two parsers could read differently."""
        lower = lines.lower()
        connection = _CONNECTION.search(lower)
        self._keep = version == b"1" and (connection is None or b"close" not in connection[1])
        coding = _CODING.findall(lower)
        length = _LENGTH.findall(lower)
        if len(length) + len(coding) > 1 or (length and not (length[0].isdigit() and len(length[0]) <= 18)):
            raise MalformedAnswer("The node's response has an ambiguous length.")
        if not lower.count(b"\r\n") == lower.count(b"\n") == lower.count(b"\r"):
            raise MalformedAnswer("A header line of the node's response does not end with CRLF.")
        self._chunked = None
        self._left = int(length[0]) if length else None
        if call.bodiless or status in (204, 304):
            self._left = 0
        elif coding:
            if coding[0] != b"chunked":
                raise MalformedAnswer("The node's response has an unknown transfer coding.")
            self._chunked = ChunkedBody()
        elif self._left is None:
            self._keep = False  # the body ends with the connection
        kind = _TYPE.search(lower)
        return ResponseHead(status, lines[2:], kind[1] if kind else b"", self._left, self._chunked is not None)

    def _body(self, call: PooledCall, data: bytes) -> None:
        receiver = call.receiver
        assert receiver is not None
        if self._chunked is not None:
            raw, body, rest = self._chunked.feed(data)
            if body:
                receiver.on_data(raw, body)
            if rest is not None and self._call is call:
                self._finish(call, rest)
            return
        if self._left is None:
            receiver.on_data(b"%x\r\n%b\r\n" % (len(data), data), data)
            return
        rest = b""
        if len(data) > self._left:
            data, rest = data[: self._left], data[self._left :]
        self._left -= len(data)
        receiver.on_data(data, data)
        if not self._left and self._call is call:
            self._finish(call, rest)

    def _finish(self, call: PooledCall, rest: bytes) -> None:
        self._release(call, rest)
        self._end(call)

    def _release(self, call: PooledCall, rest: bytes) -> None:
        """The answer is over, `rest` came behind it: the connection is free for another request, or closed."""
        self._call = call.connection = None
        if rest or not self._keep or self.closed or (self._large and self.transport.get_write_buffer_size()):
            self.abandon()
        else:
            if self._paused:
                self.resume_reading()
            self._pool.put_back(self)

    @staticmethod
    def _end(call: PooledCall, head: ResponseHead | None = None, body: bytes = b"") -> None:
        """Tells the receiver that the answer is complete; `head` and `body` when it has heard nothing of it yet."""
        receiver, call.receiver = call.receiver, None
        if receiver is None:
            return
        try:
            if head is None:
                receiver.on_end()
            else:
                receiver.on_whole(head, body)
        except UpstreamError as error:
            call.receiver = receiver
            call.fail(error)
        except Exception as error:  # noqa: BLE001 - process edge: the receiver logs it
            receiver.broken(error)

    def eof_received(self) -> bool:
        return False  # close the transport; connection_lost tells the call

    def connection_lost(self, exc: Exception | None) -> None:
        call = self._call
        self._call = None
        was_closed, self.closed = self.closed, True
        if call is None:
            if not was_closed:
                self._pool.discard(self)
            return
        call.connection = None
        if self._reading_body:
            if exc is None and self._chunked is None and self._left is None:
                self._end(call)
            else:
                call.fail(Truncated("The node closed the connection in the middle of its answer."))
        elif call.reused and not call.answered:
            self._pool.send_again(call)
        elif call.answered:
            call.fail(Truncated("The node closed the connection in the middle of its response headers."))
        else:
            call.fail(ConnectFailed("The node closed the connection without an answer."))

    def pause_writing(self) -> None:
        """A request is written once and whole: there is no producer to hold back."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""
