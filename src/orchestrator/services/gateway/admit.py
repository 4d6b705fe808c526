"""Step 3: whether the request may come in now, and the queue in which it waits for room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.domain.access import Permission, allowed
from orchestrator.domain.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    OrchestratorError,
    QueueFull,
    QueuePaused,
    RateLimited,
)
from orchestrator.domain.placement import policy_name

if TYPE_CHECKING:
    from orchestrator.services.gateway.exchange import Exchange
    from orchestrator.services.gateway.gateway import Gateway

MAX_TIMEOUT_MS = 600_000
PINNED = "--"  # the queue's class for requests that only one node may serve; no model name starts like that


class Admitting:
    """Limits, deadlines and the admission queue."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def admit(self, exchange: Exchange) -> None:
        """The principal's limits and the request's own wishes. Raises RateLimited, Forbidden, InvalidRequest."""
        gateway = self._gateway
        principal = exchange.principal
        headers = exchange.headers
        if principal.rate_limit is not None:
            verdict = gateway.limiter.take(principal.id, principal.rate_limit, gateway.clock.now)
            if not verdict.allowed:
                raise RateLimited("Too many requests for this key.", retry_after=verdict.retry_after)
        if principal.max_concurrency is not None:
            if not gateway.concurrency.acquire(principal.id, principal.max_concurrency):
                raise RateLimited("Too many requests of this key at the same time.", retry_after=1.0)
            exchange.counted = True
        timeout = gateway.limits.timeout
        if b"x-request-timeout" in headers:
            timeout = min(timeout, _milliseconds(headers[b"x-request-timeout"]))
        exchange.deadline = exchange.started + timeout
        exchange.priority = principal.priority
        if b"x-priority" in headers:
            exchange.priority = min(_number(headers[b"x-priority"], "X-Priority"), principal.max_priority)
        if b"x-session-id" in headers:
            exchange.session = headers[b"x-session-id"][:256].decode("latin-1")
        if b"x-placement-policy" in headers:
            if principal.role not in gateway.limits.policy_roles or not allowed(principal, Permission.POLICY_OVERRIDE):
                raise Forbidden("This key may not choose the placement policy.")
            exchange.policy = policy_name(headers[b"x-placement-policy"].decode("latin-1"))

    @staticmethod
    def key(exchange: Exchange) -> str:
        """The queue's class of a request: those that wait for the same room."""
        return PINNED + exchange.node_id if exchange.resolved is None else exchange.resolved.name

    def must_wait(self, exchange: Exchange) -> bool:
        """Whether others wait for the same room already, or everybody does."""
        queue = self._gateway.queue
        return queue.paused or queue.waiting(self.key(exchange)) > 0

    def wait(self, exchange: Exchange) -> None:
        """Puts the exchange in the queue. Raises QueueFull, QueuePaused."""
        gateway = self._gateway
        if not gateway.limits.queue_enabled:
            raise QueueFull(details={"model": exchange.model}, retry_after=1.0)
        exchange.queued_at = gateway.clock.now
        until = min(exchange.deadline, gateway.clock.now + gateway.limits.queue_timeout)
        try:
            gateway.queue.push(
                exchange,
                model=self.key(exchange),
                principal=exchange.principal.id,
                priority=exchange.priority,
                now=gateway.clock.now,
                deadline=until,
            )
        except (QueueFull, QueuePaused) as error:
            error.details.setdefault("model", exchange.model)
            raise

    def pump(self) -> None:
        """Room has come free: sends waiting requests on, best first, until nobody fits."""
        gateway = self._gateway
        queue = gateway.queue
        blocked: set[str] = set()  # whose next request finds no node, although one has room
        while queue.entries:
            now = gateway.clock.now
            exchange = queue.peek(lambda key: key not in blocked and self._has_room(key), now)
            if exchange is None:
                return
            node = None
            try:
                node = gateway.placing.choose(exchange)
                if node is None:
                    blocked.add(self.key(exchange))
                    continue
                queue.take(exchange, now)
                exchange.queue_wait += now - exchange.queued_at
                exchange.queued_at = 0.0
                gateway.attempting.start(exchange, node)
            except OrchestratorError as error:
                exchange.fail(error)

    def expire(self) -> None:
        """Answers those whose time in the queue is over; they are never dispatched."""
        gateway = self._gateway
        for exchange in gateway.queue.expire(gateway.clock.now):
            waited = gateway.clock.now - exchange.queued_at
            exchange.queued_at = 0.0
            exchange.queue_wait += waited
            outlook = gateway.queue.outlook(self.key(exchange), gateway.clock.now)
            error: OrchestratorError = QueueFull(
                f"All servers at max concurrency: waited {waited:.1f} s in the queue.",
                retry_after=gateway.queue.expected_wait(gateway.clock.now),
                details={"model": exchange.model, **outlook},
            )
            if gateway.clock.now >= exchange.deadline:
                error = self.late(exchange)
            exchange.fail(error)

    def late(self, exchange: Exchange) -> DeadlineExceeded:
        """The error of a request whose whole time is over while no node has it."""
        now = self._gateway.clock.now
        outlook = self._gateway.queue.outlook(self.key(exchange), now)
        return DeadlineExceeded(
            f"The request waited {now - exchange.started:.1f} s and its deadline passed.",
            retry_after=outlook["expectedWaitMs"] / 1000,
            details={"model": exchange.model, **outlook},
        )

    def leave(self, exchange: Exchange) -> None:
        """Takes an exchange out of the queue, if it waits there."""
        if exchange.queued_at:
            exchange.queue_wait += self._gateway.clock.now - exchange.queued_at
            exchange.queued_at = 0.0
            self._gateway.queue.remove(exchange)

    def _has_room(self, key: str) -> bool:
        fleet = self._gateway.fleet
        return fleet.node_has_room(key.removeprefix(PINNED)) if key.startswith(PINNED) else fleet.has_room(key)


def _milliseconds(value: bytes) -> float:
    number = _number(value, "X-Request-Timeout")
    if number < 1:
        raise InvalidRequest("X-Request-Timeout must be a positive number of milliseconds.")
    return min(number, MAX_TIMEOUT_MS) / 1000


def _number(value: bytes, name: str) -> int:
    if not value.isdigit() or len(value) > 9:
        raise InvalidRequest(f"{name} must be a whole number.")
    return int(value)
