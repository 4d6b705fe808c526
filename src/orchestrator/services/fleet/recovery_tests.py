"""Tests of half-open breakers: what closes a breaker when no client's request comes to do it.

A node's breaker is tested with a probe. A model's is tested with one token, and by itself only where the model is in
memory, with the context it was loaded with: no automatic test loads a model. A breaker that has traffic is left to it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.breaker import Breaker
from orchestrator.domain.breaker_policy import BreakerState
from orchestrator.domain.errors import UpstreamError, UpstreamTimeout
from orchestrator.domain.failure import Failure, FailureKind, classify, classify_status
from orchestrator.domain.model_name import key_of
from orchestrator.domain.node import Dialect, LoadedModel, ModelEntry, NodeKind
from orchestrator.domain.placement import Outcome
from orchestrator.domain.recovery import AttemptOutcome, Source
from orchestrator.ports.upstream import Upstream
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.fleet.recovery import RecoveryLog, verdict

EVERY = 0.25  # seconds between two looks at the breakers
INCONCLUSIVE_PAUSES = 30  # intervals without a test after one that told nothing of the node
_log = logging.getLogger("orchestrator.fleet")


@dataclass(frozen=True, slots=True)
class RecoveryTestRules:
    """Times in seconds. `interval`: so long a half-open breaker waits for traffic, and a node between two tests."""

    automatic: bool = True
    interval: float = 2.0
    timeout: float = 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a test ended. `error` is empty after a success."""

    outcome: AttemptOutcome
    error: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome is AttemptOutcome.SUCCESS


class RecoveryTests:
    """Makes tests, one at a time on a node."""

    def __init__(
        self, fleet: Fleet, health: Health, upstream: Upstream, log: RecoveryLog, rules: RecoveryTestRules
    ) -> None:
        self.rules = rules
        self._fleet = fleet
        self._health = health
        self._upstream = upstream
        self._log = log
        self._running: dict[str, tuple[str, asyncio.Task[Verdict]]] = {}  # by node: the model ("" for its own) and task
        self._next: dict[tuple[str, str], float] = {}  # monotonic seconds before which there is no automatic test
        fleet.on_lost.append(self._lost)

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Until cancelled: tests the breakers that nobody tries."""
        while True:
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - process edge: logged whole, and the next look may go well
                _log.error("bug", exc_info=error)
            await sleep(EVERY)

    def look(self) -> None:
        """Starts the tests that are due."""
        now = self._fleet.clock.tick()
        waiting = [one for one in self._fleet.tripped.values() if one.state is BreakerState.HALF_OPEN]
        keys = {(breaker.node, breaker.model) for breaker in waiting}
        for key in self._next.keys() - keys:
            del self._next[key]
        if not self.rules.automatic:
            return
        for breaker in waiting:
            key = (breaker.node, breaker.model)
            node = self._fleet.get(breaker.node)
            if node is not None and now >= self._next.get(key, 0.0) and self._due(node, breaker):
                self._next[key] = now + self.rules.interval
                self._start(node, breaker, automatic=True)

    def _due(self, node: FleetNode, breaker: Breaker) -> bool:
        if node.id in self._running or not node.healthy or breaker.trials:
            return False
        if self._fleet.clock.epoch - breaker.idle_since < self.rules.interval:
            return False
        if not breaker.model:
            return breaker.last_error_type != "non-retryable"  # a probe does not tell whether a key is good
        return (
            node.breaker.state is BreakerState.CLOSED
            and node.state.in_flight < node.state.max_concurrency
            and self._in_memory(node, breaker.model)
        )

    def _in_memory(self, node: FleetNode, model: str) -> bool:
        return node.spec.kind is NodeKind.LLAMACPP or self._loaded(node, model) is not None

    def _loaded(self, node: FleetNode, model: str) -> LoadedModel | None:
        """As the last probe saw it."""
        told = (node.report.loaded if node.report is not None else None) or ()
        name = key_of(self._fleet.name_on(node, model) or model)
        return next((one for one in told if key_of(one.name) == name), None)

    # By hand

    async def test(self, node: FleetNode, model: str) -> Verdict:
        """Tests a half-open breaker now. An operator's test may load the model, as a request would."""
        breaker = self._fleet.pair(node, model).breaker if model else node.breaker
        if breaker.state is not BreakerState.HALF_OPEN:
            state = breaker.state.value
            return Verdict(AttemptOutcome.CANCELLED, f"Circuit breaker is {state}: only a half-open one is tested")
        if node.id in self._running:
            return Verdict(AttemptOutcome.CANCELLED, f"Another test of server '{node.id}' is running")
        task = self._start(node, breaker, automatic=False)
        await asyncio.wait([task])
        return Verdict(AttemptOutcome.CANCELLED, "The test was cancelled") if task.cancelled() else task.result()

    def cancel(self, node_id: str, model: str | None = None) -> bool:
        """Ends the test of a breaker, or whichever runs on the node; whether one ran."""
        running = self._running.get(node_id)
        return running is not None and model in (None, running[0]) and running[1].cancel()

    async def stop(self) -> None:
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _lost(self, node_id: str) -> None:
        if self._fleet.get(node_id) is None:
            self.cancel(node_id)

    # One test

    def _start(self, node: FleetNode, breaker: Breaker, *, automatic: bool) -> asyncio.Task[Verdict]:
        task = asyncio.create_task(self._run(node, breaker, automatic=automatic))
        self._running[node.id] = (breaker.model, task)

        def ended(done: asyncio.Task[Verdict]) -> None:
            if self._running.get(node.id, ("", None))[1] is done:
                del self._running[node.id]
            if not done.cancelled() and (error := done.exception()) is not None:
                _log.error("bug", exc_info=error)

        task.add_done_callback(ended)
        return task

    async def _run(self, node: FleetNode, breaker: Breaker, *, automatic: bool) -> Verdict:
        if automatic and breaker.model:
            await self._health.check(node)  # what is in memory may have changed since the last probe
            if not node.healthy or not self._in_memory(node, breaker.model):
                return Verdict(AttemptOutcome.CANCELLED, "The model is not in memory")
        clock = self._fleet.clock
        began = clock.tick()
        admission = breaker.allow(clock.epoch)
        if not admission:
            return Verdict(AttemptOutcome.CANCELLED, "A trial request is under way")
        key = (breaker.node, breaker.model)
        self._log.testing.add(key)
        try:
            failure = await (self._generate(node, breaker.model) if breaker.model else self._probe(node))
            return self._judge(breaker, admission, failure, clock.tick() - began)
        except BaseException:
            breaker.release(clock.wall(), admission)
            self._note(breaker, Verdict(AttemptOutcome.CANCELLED), clock.now - began)
            raise
        finally:
            self._log.testing.discard(key)

    def _judge(self, breaker: Breaker, admission: int, failure: Failure | None, seconds: float) -> Verdict:
        now = self._fleet.clock.epoch
        if failure is None:
            found = Verdict(AttemptOutcome.SUCCESS)
        elif failure.counts_for_breaker:
            found = Verdict(verdict(failure.reason), failure.reason)
        else:
            found = Verdict(AttemptOutcome.CANCELLED, failure.reason)
            key = (breaker.node, breaker.model)
            self._next[key] = self._fleet.clock.now + INCONCLUSIVE_PAUSES * self.rules.interval
        self._note(breaker, found, seconds)
        if failure is None:
            breaker.success(now, admission)
        else:
            breaker.failure(now, failure, admission, self._fleet.rand())
        return found

    def _note(self, breaker: Breaker, found: Verdict, seconds: float) -> None:
        self._log.note(
            breaker,
            Source.RECOVERY_TEST,
            found.outcome,
            state=BreakerState.HALF_OPEN,
            error=found.error,
            seconds=seconds,
        )

    async def _probe(self, node: FleetNode) -> Failure | None:
        report = await self._health.check(node)
        if report.healthy:
            return None
        kind = FailureKind.TIMEOUT if verdict(report.error) is AttemptOutcome.TIMEOUT else FailureKind.CONNECT
        return Failure(kind, True, True, None, report.error)

    async def _generate(self, node: FleetNode, model: str) -> Failure | None:
        entry = self._fleet.catalogue.entry(model, node.id) or ModelEntry(model)
        path, body = smallest_request(node, entry, self._loaded(node, model))
        pairs = (line.partition(": ") for line in node.auth_headers())
        headers = {"Content-Type": "application/json", **{name: value for name, _, value in pairs}}
        if path == "/v1/messages":
            headers["anthropic-version"] = "2023-06-01"
        node.state.begin(model)
        try:
            answer = await self._upstream.fetch(
                node.target, "POST", path, headers=headers, body=json.dumps(body).encode(), timeout=self.rules.timeout
            )
        except UpstreamTimeout as error:
            return classify(error)
        except UpstreamError as error:
            return classify(error, own_key=bool(node.secret))
        finally:
            node.state.finish(model, Outcome(None, 0.0), self._fleet.clock.tick())
        text = answer.body.decode("utf-8", "replace")
        if answer.status != 200:
            wait = answer.headers.get("retry-after")
            epoch = self._fleet.clock.epoch
            return classify_status(answer.status, text, own_key=bool(node.secret), retry_after=wait, now=epoch)
        return None if _answered(text) else Failure(FailureKind.MALFORMED, True, True, None, "no answer in the answer")


def smallest_request(node: FleetNode, entry: ModelEntry, loaded: LoadedModel | None) -> tuple[str, dict[str, Any]]:
    """Path and body of the least that a model can be asked for: one token, or one embedding."""
    name, embeds = entry.name, "embedding" in entry.capabilities and "completion" not in entry.capabilities
    if Dialect.OLLAMA in node.dialects:
        # Another context than the one it was loaded with makes Ollama load the model anew.
        context = loaded.raw.get("context_length") if loaded is not None else None
        options: dict[str, Any] = {"num_ctx": context} if isinstance(context, int) and context > 0 else {}
        if embeds:
            return "/api/embed", {"model": name, "input": "test", "options": options}
        options |= {"num_predict": 1, "temperature": 0}
        return "/api/generate", {"model": name, "prompt": "Hi", "stream": False, "options": options}
    if embeds:
        return "/v1/embeddings", {"model": name, "input": "test"}
    said = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    return ("/v1/chat/completions" if Dialect.OPENAI in node.dialects else "/v1/messages"), said


def _answered(text: str) -> bool:
    try:
        told = json.loads(text)
    except ValueError:
        return False
    return isinstance(told, dict) and bool(told) and not told.get("error")
