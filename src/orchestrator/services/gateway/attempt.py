"""Step 5: one try on one node, and what follows when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orchestrator.domain.dialects import Operation, continuation, target_endpoint, translate
from orchestrator.domain.errors import (
    OrchestratorError,
    RequestError,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamStatus,
)
from orchestrator.domain.failure import Failure, FailureKind, classify, classify_status
from orchestrator.domain.node import Dialect
from orchestrator.ports.record import Attempt
from orchestrator.ports.upstream import ResponseHead
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.gateway import parse
from orchestrator.services.gateway.relay import Streamed

if TYPE_CHECKING:
    from orchestrator.services.gateway.exchange import Exchange
    from orchestrator.services.gateway.gateway import Gateway

_SNIPPET = 400


class Attempting:
    """Sends exchanges to nodes and decides what a failure leads to."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def start(self, exchange: Exchange, node: FleetNode) -> None:
        """Sends the request to `node`. Raises Unsupported or InvalidRequest when it cannot be said in its dialect."""
        gateway = self._gateway
        pair = exchange.pair
        assert pair is not None
        dialect = node.dialect_for(exchange.endpoint.dialect)
        if exchange.empty and dialect is not Dialect.OLLAMA and exchange.endpoint.operation is not Operation.EMBED:
            gateway.settling.loaded(exchange, node)
            return
        name = gateway.fleet.name_of(pair, node)
        try:
            path, body = self._body(exchange, dialect, name)
        except OrchestratorError:
            gateway.fleet.release(node, pair, exchange.passes)
            raise
        attempts = exchange.attempts
        phase = 1 if not attempts else 3 if any(a.node_id == node.id for a in attempts) else 2
        attempts.append(Attempt(node.spec.id, name, dialect, gateway.clock.now, phase))
        exchange.node = node
        node.state.begin(pair.model)
        exchange.wait_until = gateway.clock.now + gateway.limits.first_byte
        head = node.head_for(path) + self._headers(exchange, dialect, len(body))
        exchange.call = gateway.upstream.send(node.target, head, body, exchange, gateway.limits.connect)

    def _body(self, exchange: Exchange, dialect: Dialect, name: str) -> tuple[str, bytes | bytearray]:
        """The path and the body for a node that speaks `dialect` and calls the model `name`."""
        endpoint = exchange.endpoint
        if dialect is endpoint.dialect:
            exchange.translation = None
            changes: dict[str, object] = {}
            if name != exchange.model and name != f"{exchange.model}:latest":
                changes["model"] = name
            if exchange.stream_forced:
                changes["stream"] = False
            return endpoint.path, parse.replace(exchange.body, **changes) if changes else exchange.body
        whole = parse.whole(exchange.body)
        whole["stream"] = exchange.stream
        target_endpoint(endpoint, dialect, whole)
        translation = translate(
            endpoint, dialect, whole, model=exchange.model, request_id=exchange.id, now=self._gateway.clock.epoch
        )
        request = translation.request()
        request["model"] = name
        exchange.translation = translation
        return translation.target.path, msgspec.json.encode(request)

    def _headers(self, exchange: Exchange, dialect: Dialect, length: int) -> bytes:
        headers = exchange.headers
        extra = b""
        for name in self._gateway.limits.forward_headers:
            if name in headers:
                extra += name + b": " + headers[name] + b"\r\n"
        if dialect is Dialect.ANTHROPIC and b"anthropic-version" not in headers:
            extra += b"anthropic-version: 2023-06-01\r\n"
        return b"%bX-Request-Id: %b\r\nX-Forwarded-For: %b\r\nContent-Length: %d\r\n\r\n" % (
            extra,
            exchange.id.encode(),
            exchange.peer.encode(),
            length,
        )

    def refused(self, exchange: Exchange, head: ResponseHead, body: bytes) -> None:
        """The node answered with an error status: the client's fault goes to the client, the node's to another node."""
        node = exchange.node
        assert node is not None
        retry_after = head.header(b"retry-after")
        failure = classify_status(
            head.status,
            body[:_SNIPPET].decode("utf-8", "replace"),
            own_key=node.secret is not None,
            retry_after=retry_after.decode("latin-1") if retry_after else None,
            now=self._gateway.clock.epoch,
        )
        if not failure.counts_for_breaker and not failure.retryable:
            # The client's fault may come under a status of the node's: nobody should try it again.
            status = 400 if head.status >= 500 else head.status
            exchange.gateway.settling.passed_on(exchange, status, head, body)
            return
        kind = UpstreamRateLimited if head.status == 429 else UpstreamStatus
        error = kind(failure.reason, retry_after=failure.retry_after, details={"status": head.status})
        self._failed(exchange, error, failure)

    def failed(self, exchange: Exchange, error: UpstreamError, *, final: bool = False) -> None:
        """The attempt broke off."""
        if not exchange.over:
            self._failed(exchange, error, classify(error), final)

    def failed_in_band(self, exchange: Exchange) -> None:
        """The node ended its stream with an error event, which the client has."""
        error = UpstreamStatus("The node reported an error in its stream.")
        self._blame(exchange, error, classify(error))
        exchange.gateway.settling.failed(exchange, error, told=True)

    def _failed(self, exchange: Exchange, error: UpstreamError, failure: Failure, final: bool = False) -> None:
        gateway = self._gateway
        self._blame(exchange, error, failure)
        if exchange.relay is not None and exchange.relay.begun:
            if final or not self._continue(exchange):
                exchange.fail(error)
        elif final or exchange.bypass or not failure.retryable or not self._may_retry(exchange, failure):
            exchange.fail(self._summary(exchange, error))
        else:
            exchange.relay = None
            exchange.first_byte_at = 0.0  # of an answer that nobody will see
            try:
                self._again(exchange, failure, error)
            except OrchestratorError as problem:
                exchange.fail(self._summary(exchange, error) if not isinstance(problem, RequestError) else problem)
        gateway.admitting.pump()

    def _blame(self, exchange: Exchange, error: UpstreamError, failure: Failure) -> None:
        """Frees the node's slot and tells its breakers."""
        gateway = self._gateway
        node, pair = exchange.node, exchange.pair
        if node is None or pair is None:
            return
        attempt = exchange.attempts[-1]
        attempt.error, attempt.kind, attempt.ended = error.message, failure.kind.value, gateway.clock.tick()
        exchange.node = None
        gateway.fleet.failed(
            node,
            pair,
            exchange.passes,
            failure,
            duration=gateway.clock.now - attempt.started,
            status=attempt.status,
        )

    def _may_retry(self, exchange: Exchange, failure: Failure) -> bool:
        gateway = self._gateway
        if len(exchange.attempts) >= gateway.limits.max_attempts:
            return False
        # The budget keeps work from being done twice by nodes that are overloaded. One that is gone did none: when it
        # dies under a hundred requests, the others get no more than they would have got without it.
        return failure.kind is FailureKind.CONNECT or gateway.may_retry()

    def _again(self, exchange: Exchange, failure: Failure, error: UpstreamError) -> None:
        """Another node; failing that, after a pause the same one; failing that, the queue."""
        gateway = self._gateway
        tried = tuple(attempt.node_id for attempt in exchange.attempts)
        node = None if exchange.node_id else gateway.placing.choose(exchange, exclude=tried)
        if node is not None:
            self.start(exchange, node)
            return
        pause = gateway.backoff(len(exchange.attempts))
        if failure.retry_after is not None:
            pause = max(pause, failure.retry_after)
        if pause > gateway.limits.longest_pause or gateway.clock.now + pause >= exchange.deadline:
            raise error
        gateway.later(pause, exchange)

    def _continue(self, exchange: Exchange) -> bool:
        """Opt-in: another node goes on from the text that the client has. False when that cannot be."""
        gateway = self._gateway
        relay = exchange.relay
        if exchange.continuations >= gateway.limits.max_continuations or not isinstance(relay, Streamed):
            return False
        text = relay.text
        body = continuation(exchange.endpoint, parse.whole(exchange.body), text) if text else None
        if body is None or exchange.node_id:
            return False
        tried = tuple(attempt.node_id for attempt in exchange.attempts)
        original = exchange.body
        try:
            node = gateway.placing.choose(exchange, exclude=tried)
            if node is None:
                return False
            if node.dialect_for(exchange.endpoint.dialect) is not exchange.endpoint.dialect:
                gateway.placing.undo(exchange, node)
                return False
            exchange.continuations += 1
            exchange.body = msgspec.json.encode(body)
            self.start(exchange, node)
        except OrchestratorError:
            exchange.body = original
            return False
        return True

    def _summary(self, exchange: Exchange, last: UpstreamError) -> UpstreamError:
        """The last error, told with what happened on each node."""
        attempts = exchange.attempts
        if len(attempts) > 1:
            told = "; ".join(f"{attempt.node_id}: {attempt.error[:100]}" for attempt in attempts)
            last.message = f"All {len(attempts)} attempts failed. Errors: {told}"
        last.details.setdefault("model", exchange.model)
        return last
