"""Step 7: the one way an exchange ends. Slots are freed, breakers hear, numbers are kept, the queue moves on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orchestrator.domain.dialects import Operation, error_body, stream_error, translate_error
from orchestrator.domain.errors import OrchestratorError, Overload
from orchestrator.domain.failure import slow_first_token
from orchestrator.ports.record import RequestRecord
from orchestrator.ports.upstream import ResponseHead
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.gateway.relay import JSON
from orchestrator.services.gateway.trace import debug_fields

if TYPE_CHECKING:
    from orchestrator.services.gateway.exchange import Exchange
    from orchestrator.services.gateway.gateway import Gateway

LOOK_AGAIN = 5.0  # seconds: Retry-After where nothing tells more; about when a node that is down is probed again

KEPT_BODY = 16 * 1024  # bytes of a request that operators may look at while it is answered
# Headers of a node's error answer that a client can use.
_PASSED = (b"retry-after", b"www-authenticate", b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests")


class Settling:
    """Ends exchanges."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def committed(self, exchange: Exchange) -> None:
        """The client is about to get a part of the answer: no attempt can follow that needs the request's body."""
        if not exchange.first_byte_at:
            exchange.first_byte_at = self._gateway.clock.tick()
        exchange.status = 200
        if len(exchange.body) > KEPT_BODY and not self._gateway.keeps_text:
            exchange.body = b""

    def answered(self, exchange: Exchange, body: bytes) -> None:
        """A whole answer is ready."""
        gateway = self._gateway
        exchange.status = 200
        if exchange.debug:
            body = _with_debug(exchange, body)
        headers = JSON + gateway.answer_headers(exchange)
        self.succeeded(exchange)
        exchange.client.respond(200, headers, body)

    def streamed(self, exchange: Exchange) -> None:
        """A stream has come to its own end."""
        if exchange.debug:
            exchange.client.write(_debug_event(exchange))
        exchange.client.end()
        self.succeeded(exchange)

    def loaded(self, exchange: Exchange, node: FleetNode) -> None:
        """Ollama's load by empty prompt, for a node that has nothing to load: its model is always in memory."""
        gateway = self._gateway
        gateway.placing.undo(exchange, node)
        answer = {
            "model": exchange.model,
            "created_at": gateway.clock.timestamp(),
            **({"message": {"role": "assistant", "content": ""}} if exchange.endpoint.path.endswith("chat") else {}),
            **({"response": ""} if exchange.endpoint.operation is Operation.COMPLETE else {}),
            "done": True,
            "done_reason": "load",
        }
        exchange.status = 200
        self._close(exchange, "ok")
        exchange.client.respond(200, JSON + gateway.answer_headers(exchange), msgspec.json.encode(answer))

    def succeeded(self, exchange: Exchange) -> None:
        gateway = self._gateway
        now = gateway.clock.now if exchange.first_byte_at == gateway.clock.now else gateway.clock.tick()
        exchange.call = None
        node, pair = exchange.node, exchange.pair
        assert node is not None
        assert pair is not None
        attempt = exchange.attempts[-1]
        attempt.ended = now
        ttft = (exchange.first_byte_at or now) - exchange.started
        usage = exchange.usage
        traffic = pair.traffic
        traffic.requests += 1
        traffic.duration.observe(now - exchange.started)
        traffic.ttft.observe(ttft)
        tokens = 0
        if usage is not None:
            tokens = usage.completion_tokens
            traffic.prompt_tokens += usage.prompt_tokens
        elif exchange.stream:
            tokens = exchange.tokens_seen
            traffic.estimated_tokens += tokens
        traffic.completion_tokens += tokens
        if exchange.stream:
            traffic.streams += 1
            traffic.chunks += exchange.tokens_seen
        # A continuation goes on where another node's first byte was.
        first = (exchange.first_byte_at if exchange.first_byte_at >= attempt.started else now) - attempt.started
        slow = gateway.limits.slow_first_token
        slow = None if exchange.continuations else slow
        late = slow_first_token(first, slow) if slow is not None and first > slow else None
        if late is not None:
            attempt.kind = late.kind.value
        gateway.fleet.succeeded(
            node, pair, exchange.passes, duration=now - attempt.started, ttft=first, tokens=tokens, late=late
        )
        exchange.node = None
        self._close(exchange, "ok", attempt.node_id)
        if gateway.queue.entries:
            gateway.admitting.pump()

    def passed_on(self, exchange: Exchange, status: int, head: ResponseHead, body: bytes) -> None:
        """The node refused the request for the client's own fault: the answer goes to the client, once, as it is."""
        gateway = self._gateway
        node, pair = exchange.node, exchange.pair
        assert node is not None
        assert pair is not None
        exchange.call = exchange.node = None
        attempt = exchange.attempts[-1]
        attempt.ended, attempt.kind = gateway.clock.tick(), "client"
        gateway.fleet.released(node, pair, exchange.passes)
        headers = b"content-type: %b\r\n" % (head.content_type or b"application/json")
        for name in _PASSED:
            value = head.header(name)
            if value is not None:
                headers += name + b": " + value + b"\r\n"
        translation = exchange.translation
        if translation is not None:
            headers = JSON
            told = translate_error(body, status, translation.source, translation.target)
            body = msgspec.json.encode(told)
        exchange.status = status
        headers += gateway.answer_headers(exchange)
        self._close(exchange, "error", node.id, f"upstream_{status}")
        exchange.client.respond(status, headers, body)
        gateway.admitting.pump()

    def failed(self, exchange: Exchange, error: OrchestratorError, *, told: bool = False) -> None:
        """No answer, or not to its end. `told`: the client has read of the failure already."""
        gateway = self._gateway
        self._let_go(exchange)
        exchange.error = error
        relay = exchange.relay
        dialect = exchange.endpoint.dialect
        node = exchange.attempts[-1].node_id if exchange.attempts else ""
        if exchange.pair is not None:
            exchange.pair.traffic.errors += 1
        if relay is not None and relay.begun:
            self._close(exchange, "error", node, error.code)
            if told:
                exchange.client.end()
            elif exchange.stream:
                exchange.client.write(stream_error(dialect, error, request_id=exchange.id))
                exchange.client.end()
            else:
                exchange.client.abort()
        else:
            exchange.status = error.status
            body = msgspec.json.encode(error_body(dialect, error, request_id=exchange.id))
            if exchange.debug:
                body = _with_debug(exchange, body)
            headers = JSON + gateway.answer_headers(exchange)
            wait = LOOK_AGAIN if error.retry_after is None and isinstance(error, Overload) else error.retry_after
            if wait is not None:
                headers += b"retry-after: %d\r\n" % max(1, round(wait + 0.49))
            self._close(exchange, "error", node, error.code)
            exchange.client.respond(error.status, headers, body)

    def cancelled(self, exchange: Exchange) -> None:
        """The client left."""
        node = exchange.attempts[-1].node_id if exchange.attempts else ""
        self._let_go(exchange)
        exchange.status = exchange.status or 499
        if exchange.pair is not None:
            exchange.pair.traffic.cancelled += 1
        self._close(exchange, "cancelled", node, "client_gone")
        self._gateway.admitting.pump()

    def _let_go(self, exchange: Exchange) -> None:
        """Takes the exchange off its node and out of the queue, without a verdict on the node."""
        exchange.drop_call()
        self._gateway.clock.tick()
        node, pair = exchange.node, exchange.pair
        exchange.node = None
        if node is not None and pair is not None:
            self._gateway.fleet.released(node, pair, exchange.passes)
        self._gateway.admitting.leave(exchange)

    def _close(self, exchange: Exchange, outcome: str, node: str = "", error: str = "") -> None:
        gateway = self._gateway
        exchange.over = True
        gateway.active.pop(exchange, None)
        if exchange.counted:
            gateway.concurrency.release(exchange.principal.id)
        now = gateway.clock.now
        usage = exchange.usage
        estimated = usage is None and exchange.stream
        headers = exchange.headers
        gateway.keep(
            RequestRecord(
                exchange.id,
                gateway.clock.epoch - (now - exchange.started),
                exchange.endpoint.name,
                exchange.principal.name,
                exchange.catalogue_model,
                node,
                exchange.status,
                exchange.stream,
                now - exchange.started,
                exchange.queue_wait,
                exchange.first_byte_at - exchange.started if exchange.first_byte_at else None,
                usage.prompt_tokens if usage is not None else 0,
                usage.completion_tokens if usage is not None else exchange.tokens_seen if estimated else 0,
                estimated,
                tuple(exchange.attempts),
                error,
                outcome,
                exchange.continuations,
                headers[b"traceparent"][:55].decode("latin-1") if b"traceparent" in headers else "",
                exchange.tokens_seen,
            )
        )
        exchange.dissolve()


def _with_debug(exchange: Exchange, body: bytes) -> bytes:
    """The answer with its decision trace as one more field; the other bytes stay as they are."""
    end = body.rstrip()
    if not end.endswith(b"}"):
        return body
    comma = b"" if end[:-1].rstrip().endswith(b"{") else b","
    return end[:-1] + comma + b'"debug":' + msgspec.json.encode(debug_fields(exchange)) + b"}"


def _debug_event(exchange: Exchange) -> bytes:
    line = b'{"debug":' + msgspec.json.encode(debug_fields(exchange)) + b"}"
    return line + b"\n" if exchange.endpoint.dialect.value == "ollama" else b"data: " + line + b"\n\n"
