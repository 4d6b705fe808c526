"""The fast form of the data plane: inference requests, and the calls that every task makes, are served inside uvicorn's
protocol, without a task or ASGI.

`data_received` looks at what starts a new request. A plain `POST` to an inference path with a head that any parser
reads the same way is taken here; everything else goes to uvicorn as if this class did not exist. Declining is always
safe, because the ASGI application serves the same paths (docs/adr/0002).
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator.domain.access import Principal
from orchestrator.domain.dialects import Endpoint
from orchestrator.domain.errors import InvalidRequest, OrchestratorError, TooLarge
from orchestrator.entrypoints.http.plane import FORM, DataPlane, DirectCall
from orchestrator.services.gateway.exchange import Exchange

Wanted = Endpoint | DirectCall
TRUST = 1.0  # seconds for which a head that was checked need not be checked again
LINGER = 2.0  # seconds
MAX_PIPELINED = 64 * 1024  # bytes of further requests that are kept while one is served

# RFC 9110 field lines without the forms that parsers read differently: no folding, no blank before the colon, no
# control characters, CRLF only.
_FIELD = rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)\r\n"
_find_fields = re.compile(_FIELD).findall
_only_fields = re.compile(b"(?:" + _FIELD + b")+").fullmatch
_DECLINED = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"content-encoding"))

SOCKET_PATH = b"/api/v1/ws"
SOCKET_LINES, SOCKET_LINE = 100, 8_000  # lines of a head, and bytes of one; websockets reads 128 of 8192
GOODBYE = b"connection: close\r\n"


class _Body:
    """A request whose head is complete and whose body is still coming."""

    __slots__ = ("data", "endpoint", "headers", "length", "principal")

    def __init__(
        self, endpoint: Wanted, headers: dict[bytes, bytes], principal: Principal, data: bytes, length: int
    ) -> None:
        self.endpoint = endpoint
        self.headers = headers
        self.principal = principal
        self.data = bytearray(data)
        self.length = length


class _Known:
    """The last head of a connection. Clients repeat theirs but for the body's length, so what was checked once need not
    be checked again; not for longer than a second, or a revoked key would go on opening the door."""

    __slots__ = ("after", "at", "before", "endpoint", "headers", "limit", "principal", "revision")

    def __init__(
        self, plane: DataPlane, endpoint: Wanted, headers: dict[bytes, bytes], head: bytes, principal: Principal
    ) -> None:
        """`head` is the whole head, from the request line to the empty line."""
        self.endpoint = endpoint
        self.headers = headers
        self.principal = principal
        self.at = plane.gateway.clock.now
        self.revision = plane.keyring.revision
        self.limit = plane.max_body
        digits = headers[b"content-length"]
        start = head.index(digits, head.lower().index(b"\r\ncontent-length:") + 17)
        self.before = head[:start]
        self.after = head[start + len(digits) :]

    def body_of(self, data: bytes, plane: DataPlane) -> tuple[int, int]:
        """Where the body starts and how long it is, if the head is this one but for that length; otherwise (0, 0)."""
        if not data.startswith(self.before) or plane.keyring.revision != self.revision:
            return 0, 0
        if plane.gateway.clock.now - self.at > TRUST:
            return 0, 0
        start = len(self.before)
        end = data.find(b"\r", start, start + 13)
        if end < 0 or not data.startswith(self.after, end):
            return 0, 0
        digits = data[start:end]
        if not digits.isdigit() or (length := int(digits)) > self.limit:
            return 0, 0
        return end + len(self.after), length


class WireProtocol(HttpToolsProtocol):
    """One client connection. Also the `ClientSide` of the exchange that it carries."""

    plane: DataPlane  # set by `wire_protocol`
    inline = True  # whether inference is served here; otherwise only the limits on heads and idle connections are

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._exchange: Exchange | None = None
        self._serving = False  # an exchange is under way
        self._body: _Body | None = None
        self._known: _Known | None = None
        self._pending = b""  # pipelined bytes
        self._parsing = False  # uvicorn's parser is inside a request
        self._in_head = False  # and inside its head
        self._head_size = 0
        self._discarding = False  # an error was answered before the body was read
        self._head = b""  # the head of a streamed answer, until its first bytes
        self._keep = True
        self.expires = 0.0  # monotonic seconds: when to give up waiting for the client; 0 while it is our turn

    # Bytes in

    def data_received(self, data: bytes) -> None:
        if self._serving:
            self._pending += data
            if len(self._pending) > MAX_PIPELINED:
                self.transport.pause_reading()
        elif self._body is not None:
            self._collect(data)
        elif self._discarding:
            return
        elif self._parsing or (self.cycle is not None and not self.cycle.response_complete):
            self._parse(data)
        elif self.inline and data.startswith(b"POST /") and self._take(data):
            self._unset_keepalive_if_required()
        else:
            self.expires = 0.0
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        """uvicorn's own way, with limits that it lacks: on the size of a head and on the time a request may take to
        arrive."""
        super().data_received(data)
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > self.plane.max_header:
                self._too_large()
        if self._parsing and not (self._in_head and self.expires):
            self.expires = self.plane.gateway.clock.tick() + self.plane.body_timeout

    def _too_large(self) -> None:
        head = self.plane.opening(431, self.server_state.default_headers)
        self.transport.write(head + b"content-length: 0\r\n" + GOODBYE + b"\r\n")
        self._linger()

    def _linger(self) -> None:
        """Closes our side and reads on for a moment, unheeding: a reset would take the answer from the client."""
        self._discarding = True
        self.expires = self.plane.gateway.clock.tick() + LINGER
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _should_upgrade(self) -> bool:
        """One path has a WebSocket; everywhere else, and with a head that its library would not read, the wish for an
        upgrade is not heard."""
        lines = [len(self.url), *(len(name) + len(value) for name, value in self.headers)]
        wanted = self.scope["method"] == "GET" and self.url.partition(b"?")[0] == SOCKET_PATH
        readable = len(lines) <= SOCKET_LINES and max(lines) <= SOCKET_LINE
        return wanted and readable and super()._should_upgrade()

    def handle_websocket_upgrade(self) -> None:
        try:
            super().handle_websocket_upgrade()
        except BaseException:
            self.transport.abort()  # nobody else would ever close it
            raise

    def on_message_begin(self) -> None:
        self._parsing = self._in_head = True
        self._head_size = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._parsing = False
        self.expires = 0.0
        super().on_message_complete()

    def _take(self, data: bytes) -> bool:
        """Starts on a request if it is one for the data plane; False leaves it to uvicorn, untouched."""
        known = self._known
        if known is not None:
            start, length = known.body_of(data, self.plane)
            if start:
                self._enter(known.endpoint, known.headers, known.principal, data[start:], length)
                return True
        line_end = data.find(b"\r\n", 0, 256)
        path, _, version = data[5:line_end].partition(b" ")
        endpoint: Wanted | None = self.plane.endpoints.get(path) or self.plane.call(path)
        head_end = data.find(b"\r\n\r\n", line_end, self.plane.max_header)
        if endpoint is None or version != b"HTTP/1.1" or head_end < 0:
            return False
        return self._take_new(endpoint, data[: head_end + 4], data[line_end + 2 : head_end + 2], data[head_end + 4 :])

    def _take_new(self, endpoint: Wanted, head: bytes, block: bytes, rest: bytes) -> bool:
        """A head that differs from the last one of this connection; `block` are its field lines."""
        if _only_fields(block) is None:
            return False
        fields = _find_fields(block)
        headers = {name.lower(): value.rstrip(b" \t") for name, value in fields}
        length = headers.get(b"content-length", b"")
        if (
            len(headers) != len(fields)
            or not length.isdigit()
            or len(length) > 12
            or b"host" not in headers
            or not _DECLINED.isdisjoint(headers)
            or headers.get(b"connection", b"keep-alive").lower() not in (b"keep-alive", b"close", b"")
        ):
            return False
        keep = headers.get(b"connection", b"").lower() != b"close"
        if isinstance(endpoint, Endpoint):
            self._keep = keep
            self._admit(endpoint, headers, head, rest, int(length))
            return True
        principal = self._admitted(endpoint, headers, int(length))
        if principal is not None:
            self._keep = keep
            self._known = _Known(self.plane, endpoint, headers, head, principal)
            self._enter(endpoint, headers, principal, rest, int(length))
        return principal is not None

    def _admitted(self, call: DirectCall, headers: dict[bytes, bytes], length: int) -> Principal | None:
        """Whose call this is; None leaves it, and the refusal, to the application."""
        plane = self.plane
        if b"origin" in headers or length > plane.max_body or not plane.host_allowed(headers[b"host"]):
            return None
        try:
            principal = plane.keyring.authenticate(headers, self.client[0] if self.client else "")
        except OrchestratorError:
            return None
        return principal if call.admits(headers, principal) else None

    def _admit(self, endpoint: Endpoint, headers: dict[bytes, bytes], head: bytes, rest: bytes, length: int) -> None:
        """Checks what can be checked before the body, so that nobody unknown makes us read one."""
        plane = self.plane
        peer = self.client[0] if self.client else ""
        try:
            plane.check_origin(headers)
            principal = plane.keyring.authenticate(headers, peer)
            if length > plane.max_body:
                raise TooLarge(f"The body is over the limit of {plane.max_body} bytes.")
            kind = headers.get(b"content-type", b"")
            if kind and b"json" not in kind and not kind.startswith((FORM, b"text/plain")):
                raise InvalidRequest("The body must be JSON (Content-Type: application/json).")
        except OrchestratorError as error:
            self._refuse(endpoint, headers, error, whole=len(rest) >= length, rest=rest[length:])
            return
        self._known = _Known(plane, endpoint, headers, head, principal)
        self._enter(endpoint, headers, principal, rest, length)

    def _enter(
        self, endpoint: Wanted, headers: dict[bytes, bytes], principal: Principal, rest: bytes, length: int
    ) -> None:
        """Serves the request, at once or when its body is complete."""
        if len(rest) == length:
            self._serve(endpoint, headers, principal, rest)
        elif len(rest) > length:
            self._pending = rest[length:]
            self._serve(endpoint, headers, principal, rest[:length])
        else:
            self._body = _Body(endpoint, headers, principal, rest, length)
            self.expires = self.plane.gateway.clock.tick() + self.plane.body_timeout

    def _collect(self, data: bytes) -> None:
        body = self._body
        assert body is not None
        missing = body.length - len(body.data)
        if len(data) < missing:
            body.data += data
            self.expires = self.plane.gateway.clock.now + self.plane.body_timeout
            return
        if len(data) > missing:
            data, self._pending = data[:missing], data[missing:]
        body.data += data
        self._body = None
        self._serve(body.endpoint, body.headers, body.principal, body.data)

    def _serve(
        self, endpoint: Wanted, headers: dict[bytes, bytes], principal: Principal, body: bytes | bytearray
    ) -> None:
        self.expires = 0.0
        self._serving = True
        self.server_state.total_requests += 1
        peer = self.client[0] if self.client else ""
        if not isinstance(endpoint, Endpoint):
            endpoint.serve(self, headers, principal, bytes(body))
            return
        exchange = self.plane.gateway.handle(self, endpoint, body, headers, principal, peer)
        if not exchange.over:
            self._exchange = exchange

    def _refuse(
        self, endpoint: Endpoint, headers: dict[bytes, bytes], error: OrchestratorError, *, whole: bool, rest: bytes
    ) -> None:
        """Answers an error. A body that has not come is not waited for: the connection closes after the answer."""
        self._serving = True
        self._pending = rest
        if not whole:
            self._keep = False
            self._discarding = True
        self.respond(error.status, b"content-type: application/json\r\n", self.plane.refusal(endpoint, error))

    # The answer (ports.client.ClientSide)

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"%b%bcontent-length: %d\r\n%b\r\n%b"
                % (self._opening(status), headers, len(body), b"" if self._keep else GOODBYE, body)
            )
        self._done()

    def begin(self, status: int, headers: bytes) -> None:
        goodbye = b"" if self._keep else GOODBYE
        self._head = b"%b%btransfer-encoding: chunked\r\n%b\r\n" % (self._opening(status), headers, goodbye)

    def relay(self, raw: bytes, body: bytes) -> None:
        if self._head:
            raw, self._head = self._head + raw, b""
        self.transport.write(raw)

    def write(self, body: bytes) -> None:
        self.relay(b"%x\r\n%b\r\n" % (len(body), body), body)

    def end(self) -> None:
        self.relay(b"0\r\n\r\n", b"")
        self._done()

    def abort(self) -> None:
        self._exchange = None
        self._serving = False
        self.transport.abort()

    def _opening(self, status: int) -> bytes:
        """The status line and the Date header, which uvicorn renews once a second."""
        return self.plane.opening(status, self.server_state.default_headers)

    def _done(self) -> None:
        self._exchange = None
        self._serving = False
        if self._discarding:
            self._linger()
        elif not self._keep:
            self.transport.close()
        elif self._pending:
            self._serving = True  # what arrives before `_resume` comes behind what is pending
            self.loop.call_soon(self._resume)
        else:
            self.expires = self.plane.gateway.clock.now + self.plane.keep_alive

    def _resume(self) -> None:
        self._serving = False
        if self.transport.is_closing():
            return
        if not self._keep:  # the service began to stop meanwhile
            self.transport.close()
            return
        data, self._pending = self._pending, b""
        self.transport.resume_reading()
        self.data_received(data)

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self.expires = self.plane.gateway.clock.now + self.plane.keep_alive

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        self._serving = False
        self._body = None
        if exchange is not None:
            exchange.client_gone()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._exchange is not None:
            self._exchange.client_paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._exchange is not None:
            self._exchange.client_resumed()

    def shutdown(self) -> None:
        if self._serving:
            self._keep = False
        else:
            super().shutdown()

    def expire(self, now: float) -> None:
        """Closes a connection whose client neither sends nor goes."""
        if self.expires and now >= self.expires and not self._serving:
            self.transport.close()


def wire_protocol(plane: DataPlane, *, inline: bool = True) -> type[WireProtocol]:
    """The protocol class for uvicorn's `http` setting. `inline` False leaves inference to the ASGI application."""
    return cast("type[WireProtocol]", type("BoundWireProtocol", (WireProtocol,), {"plane": plane, "inline": inline}))
