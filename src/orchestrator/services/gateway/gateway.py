"""The data plane's centre: owns what requests share, and hands each exchange from step to step."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.dialects import Endpoint
from orchestrator.domain.errors import Forbidden, OrchestratorError, ShuttingDown
from orchestrator.domain.limiter import ConcurrencyCap, RateLimiter
from orchestrator.domain.placement import Considered, Placement
from orchestrator.domain.queue import AdmissionQueue
from orchestrator.domain.retry import RetryBudget, RetryPolicy
from orchestrator.ports.client import ClientSide
from orchestrator.ports.record import RequestRecord
from orchestrator.ports.upstream import Upstream
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.gateway.admit import Admitting
from orchestrator.services.gateway.attempt import Attempting
from orchestrator.services.gateway.exchange import Exchange
from orchestrator.services.gateway.left_load import LeftLoad
from orchestrator.services.gateway.limits import Limits
from orchestrator.services.gateway.parse import parse
from orchestrator.services.gateway.place import Placing
from orchestrator.services.gateway.relay import Relaying
from orchestrator.services.gateway.settle import Settling
from orchestrator.services.gateway.trace import debug_headers

TICK = 0.1  # seconds between two looks at the clock
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}\Z")


class Gateway:
    """Serves inference requests. One instance lives in one event loop; nothing here blocks or awaits."""

    def __init__(
        self,
        fleet: Fleet,
        upstream: Upstream,
        placement: Placement,
        queue: AdmissionQueue[Exchange],
        limiter: RateLimiter,
        retry_budget: RetryBudget,
        retry_policy: RetryPolicy,
        limits: Limits,
        *,
        rand: Callable[[], float],
        instance: str,
        history: int = 10_000,
        on_bug: Callable[[str, Exception], None],
    ) -> None:
        """`instance` makes request ids of two processes differ; `history` is how many finished requests are kept;
        `on_bug(request id, error)` hears of exceptions that are no error of ours."""
        self.fleet = fleet
        self.clock = fleet.clock
        self.upstream = upstream
        self.placement = placement
        fleet.on_lost.append(placement.forget)
        self.queue = queue
        self.limiter = limiter
        self.concurrency = ConcurrencyCap()
        self.retry_budget = retry_budget
        self.retry_policy = retry_policy
        self.limits = limits
        self.active: dict[Exchange, None] = {}
        self.left_loads: set[LeftLoad] = set()  # loads under way whose clients have gone
        self.history: deque[RequestRecord] = deque(maxlen=history)
        self.outcomes: Counter[tuple[str, int]] = Counter()  # answers by endpoint and status
        self.on_record: list[Callable[[RequestRecord], None]] = []
        self.admitting = Admitting(self)
        self.placing = Placing(self)
        self.attempting = Attempting(self)
        self.relaying = Relaying(self)
        self.settling = Settling(self)
        self.closing = False
        self._rand = rand
        self._on_bug = on_bug
        self._ids = f"req-{instance}-"
        self._serial = 0
        self._arrived = 0  # since the retry budget was last told
        self._ticker: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Starts the ticker that watches deadlines, stalls, breakers and the queue."""
        self._beat()

    def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for load in list(self.left_loads):
            load.end()

    def _beat(self) -> None:
        self.clock.adjust()
        now = self.clock.now
        for exchange in [one for one in self.active if now >= one.wait_until or now >= one.deadline]:
            if not exchange.over:
                exchange.check(now)
        self.admitting.expire()
        self.fleet.beat()
        if self.queue.entries:
            self.admitting.pump()
        self._ticker = asyncio.get_running_loop().call_later(TICK, self._beat)

    # One request

    def handle(
        self,
        client: ClientSide,
        endpoint: Endpoint,
        body: bytes | bytearray,
        headers: Mapping[bytes, bytes],
        principal: Principal,
        peer: str,
        *,
        node_id: str = "",
        bypass: bool = False,
        debug: bool = False,
    ) -> Exchange:
        """Takes a request in. The answer comes through `client`; errors too, so this never raises one of ours.

        `node_id` pins the request to one node (`bypass`: whatever its state); `debug` adds the decision trace.
        """
        exchange = Exchange(self, client, endpoint, body, headers, principal, peer)
        self.clock.tick()
        self._serial += 1
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.match(given):
            exchange.id = given.decode("ascii")
        else:
            exchange.id = f"{self._ids}{self._serial:x}"
        if node_id:
            exchange.node_id, exchange.bypass = node_id, bypass
        if debug or headers.get(b"x-include-debug-info") in (b"true", b"1"):
            exchange.debug = allowed(principal, Permission.DEBUG_TRACE)
        self.active[exchange] = None
        try:
            if self.closing:
                raise ShuttingDown(retry_after=5.0)
            if not allowed(principal, Permission.INFERENCE_USE):
                raise Forbidden("This key may not use models.")
            parse(exchange, self.limits.ollama_stream_default)
            if node_id:
                self.placing.check_direct(exchange)
            else:
                self.placing.resolve(exchange)
            self.admitting.admit(exchange)
            self._arrived += 1
            queue = self.queue
            if (queue.entries or queue.paused) and self.admitting.must_wait(exchange):
                self.admitting.wait(exchange)
                self.admitting.pump()
            else:
                self._send(exchange)
        except OrchestratorError as error:
            exchange.fail(error)
        except Exception as error:  # noqa: BLE001 - process edge: logged whole
            exchange.broken(error)
        return exchange

    def dispatch(self, exchange: Exchange) -> None:
        """Sends an exchange to a node, or to the queue when all are full."""
        try:
            self._send(exchange)
        except OrchestratorError as error:
            exchange.fail(error)

    def _send(self, exchange: Exchange) -> None:
        node = self.placing.choose(exchange)
        if node is None:
            self.admitting.wait(exchange)
        else:
            self.attempting.start(exchange, node)

    def later(self, seconds: float, exchange: Exchange) -> None:
        """Dispatches again after a pause, unless the exchange is over by then."""
        exchange.wait_until = exchange.deadline
        asyncio.get_running_loop().call_later(seconds, self._again, exchange)

    def _again(self, exchange: Exchange) -> None:
        if not exchange.over:
            self.clock.tick()
            self.dispatch(exchange)

    def may_retry(self) -> bool:
        """Whether one more retry fits the budget."""
        arrived, self._arrived = self._arrived, 0
        self.retry_budget.request(self.clock.now, arrived)
        return self.retry_budget.may_retry(self.clock.now)

    def backoff(self, attempt: int) -> float:
        return self.retry_policy.delay(attempt, self._rand())

    @property
    def keeps_text(self) -> bool:
        """Whether streams remember what they sent, for a continuation."""
        return self.limits.continuation

    def answer_headers(self, exchange: Exchange) -> bytes:
        """Headers of every answer: which request it was and which node served it."""
        headers = f"x-request-id: {exchange.id}\r\n"
        if exchange.attempts and self.limits.answer_headers:
            headers = f"{headers}x-selected-server: {exchange.attempts[-1].node_id}\r\n"
        if exchange.debug:
            headers += debug_headers(exchange)
        elif exchange.queue_wait:
            headers = f"{headers}x-queue-wait-ms: {exchange.queue_wait * 1000:.0f}\r\n"
        return headers.encode()

    def explain(self, exchange: Exchange) -> list[Considered]:
        """Every node of the fleet with its score for this request, or the reason why it was out of the question."""
        assert exchange.resolved is not None
        name = exchange.resolved.name
        candidates = self.fleet.candidates(name, exchange.endpoint)
        request = self.placing.request(exchange)
        scored = self.placement.explain(candidates, request, self.clock.now, exchange.policy)
        return [*scored, *self.fleet.rejected(name, exchange.endpoint)]

    def report_bug(self, exchange: Exchange, error: Exception) -> None:
        self._on_bug(exchange.id, error)

    def keep(self, record: RequestRecord) -> None:
        self.history.append(record)
        self.outcomes[record.endpoint, record.status] += 1
        for listener in self.on_record:
            listener(record)

    # Operators

    def pause(self) -> None:
        self.queue.pause()

    def resume(self) -> None:
        self.queue.resume()
        self.admitting.pump()

    def close(self) -> None:
        """Stops taking requests in; those under way go on."""
        self.closing = True
        for exchange in [one for one in self.active if one.queued_at]:
            exchange.fail(ShuttingDown(retry_after=5.0))

    def reopen(self) -> None:
        """Undoes `close`, when a drain of the whole service is called off."""
        self.closing = False

    def interrupt(self) -> None:
        """The grace time is over: every request still under way ends with one error."""
        for exchange in list(self.active):
            exchange.fail(ShuttingDown("The service is shutting down and the answer could not be finished."))
