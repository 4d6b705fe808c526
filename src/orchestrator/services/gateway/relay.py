"""Step 6: what the client sees of a node's answer.

Four relays, one per shape of answer. Each takes `data(raw, body)` and `end()`, raises an UpstreamError when the answer
is not what it should be, and knows how to end what it has begun: `begun` tells whether a byte has reached the client.

    Whole          not streamed, same dialect: held until complete, so that a broken answer can still fail over
    Refused        an error status: held, then passed on as it is, or the reason for another attempt
    Streamed       streamed, same dialect: the node's own bytes, whole events only
    Translated     streamed, another dialect: event by event
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec

from orchestrator.domain.dialects import TERMINAL, StreamText, StreamTranslator, usage_of
from orchestrator.domain.errors import MalformedAnswer, Truncated, UpstreamError, UpstreamStatus
from orchestrator.domain.node import Dialect
from orchestrator.ports.upstream import ResponseHead
from orchestrator.services.gateway import parse
from orchestrator.services.gateway.cost import TAIL, scan_usage, usage_in

if TYPE_CHECKING:
    from orchestrator.services.gateway.exchange import Exchange
    from orchestrator.services.gateway.gateway import Gateway

HOLD_WHOLE = 4 << 20  # bytes of a complete answer that are held back for fail-over
HOLD_EVENT = 16 << 20  # the longest event that a stream may carry
HOLD_ERROR = 1 << 20

CONTENT_TYPES = {
    Dialect.OPENAI: b"content-type: text/event-stream; charset=utf-8\r\n",
    Dialect.ANTHROPIC: b"content-type: text/event-stream; charset=utf-8\r\n",
    Dialect.OLLAMA: b"content-type: application/x-ndjson\r\n",
}
# What ends an event of a stream.
BOUNDARIES = {Dialect.OPENAI: b"\n\n", Dialect.ANTHROPIC: b"\n\n", Dialect.OLLAMA: b"\n"}
JSON = b"content-type: application/json\r\n"
_NO_BUFFERING = b"cache-control: no-cache\r\nx-accel-buffering: no\r\n"


# The first bytes of an event that reports an error, in any of the three dialects.
_ERROR = rb'(?:event: ?error|(?:data: ?)?\{ ?"error"(?! ?: ?null))'
_ERROR_EVENT = re.compile(_ERROR)
_ERROR_LINE = re.compile(b"\n" + _ERROR)


class Relay(Protocol):
    begun: bool

    def data(self, raw: bytes, body: bytes) -> None: ...

    def end(self) -> None: ...


class Relaying:
    """Chooses the relay for an answer."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def begin(self, exchange: Exchange, head: ResponseHead) -> None:
        attempt = exchange.attempts[-1]
        attempt.status = status = head.status
        exchange.wait_until = self._gateway.clock.now + self._gateway.limits.stall
        previous = exchange.relay
        if previous is not None and previous.begun and isinstance(previous, Streamed):
            if status >= 300:  # no other answer fits into one that has begun
                raise UpstreamStatus(f"HTTP {status}", details={"status": status})
            previous.resume_after_continuation()
        elif status >= 300:
            exchange.relay = Refused(exchange, head)
        elif not exchange.stream:
            exchange.relay = Whole(exchange, head)
        elif exchange.translation is not None:
            exchange.relay = Translated(exchange)
        else:
            exchange.relay = Streamed(exchange, head)
        assert exchange.relay is not None
        exchange.on_data = exchange.relay.data


class Refused:
    """An error status of the node."""

    begun = False

    def __init__(self, exchange: Exchange, head: ResponseHead) -> None:
        self._exchange = exchange
        self._head = head
        self._body = bytearray()

    def data(self, raw: bytes, body: bytes) -> None:
        if len(self._body) < HOLD_ERROR:
            self._body += body

    def end(self) -> None:
        self._exchange.gateway.attempting.refused(self._exchange, self._head, bytes(self._body))


class Whole:
    """An answer that is not streamed."""

    __slots__ = ("_exchange", "_head", "_parts", "_size", "begun")

    def __init__(self, exchange: Exchange, head: ResponseHead) -> None:
        self._exchange = exchange
        self._head = head
        self._parts: list[bytes] = []
        self._size = 0
        self.begun = False

    def data(self, raw: bytes, body: bytes) -> None:
        exchange = self._exchange
        gateway = exchange.gateway
        if not exchange.first_byte_at:
            exchange.first_byte_at = gateway.clock.tick()
        if self.begun:
            self._parts = [(self._parts[-1] + body)[-TAIL:]]
            exchange.client.write(body)
            return
        self._parts.append(body)
        self._size += len(body)
        exchange.wait_until = gateway.clock.now + gateway.limits.stall
        if self._size > HOLD_WHOLE and exchange.translation is None and not exchange.debug:
            # Too large to hold: from here on it is relayed, and a break is a broken answer.
            self.begun = True
            gateway.settling.committed(exchange)
            exchange.client.begin(200, JSON + gateway.answer_headers(exchange))
            for part in self._parts:
                exchange.client.write(part)
            self._parts = self._parts[-1:]

    def end(self) -> None:
        exchange = self._exchange
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if self.begun:
            exchange.usage = scan_usage(body[-TAIL:])
            exchange.client.end()
            exchange.gateway.settling.succeeded(exchange)
            return
        exchange.usage = usage_in(body)
        translation = exchange.translation
        if translation is not None:
            answer = parse.whole(body)
            exchange.usage = usage_of(translation.target, answer)
            body = msgspec.json.encode(translation.response(answer, exchange.gateway.clock.wall))
        exchange.gateway.settling.answered(exchange, body)


class Streamed:
    """A stream in the client's own dialect: the node's bytes, whole events only, verified at the end."""

    __slots__ = ("_before", "_boundary", "_chunked", "_continuing", "_exchange", "_held", "_last", "_text", "begun")

    def __init__(self, exchange: Exchange, head: ResponseHead) -> None:
        self._exchange = exchange
        self._boundary = BOUNDARIES[exchange.endpoint.dialect]
        self._held = b""
        self._before = self._last = b""  # the last two pieces
        self._chunked = head.chunked
        self._text = StreamText(exchange.endpoint, msgspec.json.decode) if exchange.gateway.keeps_text else None
        self._continuing = False
        self.begun = False

    def data(self, raw: bytes, body: bytes) -> None:
        exchange = self._exchange
        if not body.endswith(self._boundary) or self._held or self._continuing:
            body = self._whole_events(body)
            if not body:
                return
            raw = b""
        if not self.begun:
            self._begin(body)
        exchange.tokens_seen += body.count(self._boundary)
        self._before, self._last = self._last, body
        if self._text is not None:
            self._text.feed(body)
        if raw and self._chunked:
            exchange.client.relay(raw, body)
        else:
            exchange.client.write(body)

    def _begin(self, body: bytes) -> None:
        exchange = self._exchange
        if _ERROR_EVENT.match(body):
            raise UpstreamStatus(f"The node's stream began with an error: {body[:200]!r}.")
        exchange.gateway.settling.committed(exchange)
        self.begun = True
        head = CONTENT_TYPES[exchange.endpoint.dialect] + _NO_BUFFERING
        exchange.client.begin(200, head + exchange.gateway.answer_headers(exchange))

    def _whole_events(self, body: bytes) -> bytes:
        """Adds to what is held back and returns the part that ends with an event; an error event must never be
        glued to half a line."""
        body = self._held + body
        end = body.rfind(self._boundary)
        if end < 0 and self._boundary == b"\n\n":
            end = body.rfind(b"\r\n\r\n")
            end = end + 2 if end >= 0 else end
        end = end + len(self._boundary) if end >= 0 else 0
        self._held = body[end:]
        if len(self._held) > HOLD_EVENT:
            raise MalformedAnswer(f"An event of the node's stream is longer than {HOLD_EVENT} bytes.")
        body = body[:end]
        return self._without_preamble(body) if self._continuing and body else body

    def _without_preamble(self, body: bytes) -> bytes:
        """A continuation starts a message anew; the client has the beginning already."""
        if self._exchange.endpoint.dialect is not Dialect.ANTHROPIC:
            return body
        events = [event for event in body.split(b"\n\n") if event]
        kept = [e for e in events if b"message_start" not in e[:40] and b"content_block_start" not in e[:40]]
        return b"".join(event + b"\n\n" for event in kept)

    def end(self) -> None:
        exchange = self._exchange
        if self._held and self._held.strip():  # a last line without its line end
            last, self._held = self._held, b""
            self.data(b"", last.rstrip(b"\r\n") + self._boundary)
        tail = (self._before + self._last)[-TAIL * 2 :]
        if b"error" in tail and self._told_of_error(tail):
            # The node said itself that it failed, and the client has read it: once is enough. Some send the usual end
            # of a stream behind it.
            exchange.gateway.attempting.failed_in_band(exchange)
            return
        if not any(marker in tail for marker in TERMINAL[exchange.endpoint.name]):
            raise Truncated("The node ended its stream without its last event.")
        exchange.usage = scan_usage(tail)
        exchange.gateway.settling.streamed(exchange)

    def _told_of_error(self, tail: bytes) -> bool:
        events = (self._before, self._last)  # both begin with an event
        return any(map(_ERROR_EVENT.match, events)) or _ERROR_LINE.search(tail) is not None

    @property
    def text(self) -> str | None:
        """What the client has so far; None when it was not kept or cannot be continued."""
        return self._text.text if self._text is not None else None

    def resume_after_continuation(self) -> None:
        self._held = b""
        self._continuing = True


class Translated:
    """A stream in another dialect than the client's."""

    __slots__ = ("_boundary", "_exchange", "_stream", "begun")

    def __init__(self, exchange: Exchange) -> None:
        assert exchange.translation is not None
        self._exchange = exchange
        self._boundary = BOUNDARIES[exchange.endpoint.dialect]
        self._stream: StreamTranslator = exchange.translation.stream(
            msgspec.json.decode, msgspec.json.encode, exchange.gateway.clock.wall
        )
        self.begun = False

    def data(self, raw: bytes, body: bytes) -> None:
        try:
            self._send(self._stream.feed(body))
        except UpstreamError:
            if self.begun and self._stream.pending:
                self._send(self._stream.pending)
            raise

    def _send(self, out: bytes) -> None:
        if not out:
            return
        exchange = self._exchange
        if not self.begun:
            exchange.gateway.settling.committed(exchange)
            self.begun = True
            head = CONTENT_TYPES[exchange.endpoint.dialect] + _NO_BUFFERING
            exchange.client.begin(200, head + exchange.gateway.answer_headers(exchange))
        exchange.tokens_seen += out.count(self._boundary)
        exchange.client.write(out)

    def end(self) -> None:
        exchange = self._exchange
        self._send(self._stream.finish())
        exchange.usage = self._stream.usage
        exchange.gateway.settling.streamed(exchange)
