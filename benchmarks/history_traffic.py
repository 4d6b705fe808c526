"""A day of a fleet's traffic as the history would write it: the same again for the same size and beginning."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence

from orchestrator.domain.histogram import DURATION_BOUNDS
from orchestrator.ports.history import BUCKETS, DAY, MINUTE, Candidate, Decision, HistoryBatch, Rollup
from orchestrator.ports.record import Attempt, RequestRecord
from orchestrator.services.gateway.score import PARTS

NODES = [f"node-{n}.fleet" for n in range(10)]
MODELS = ["llama3.1:8b", "llama3.1:70b", "qwen2.5:32b", "nomic-embed-text", "gemma2:9b", "mistral:7b"]
ENDPOINTS = ["openai.chat", "openai.embeddings", "ollama.chat"]
PRINCIPALS = [f"team-{n}" for n in range(40)]
ERRORS = ["upstream_timeout", "connection_refused", "queue_full", "upstream_error"]


class Traffic:
    """A day of requests: most of them well, 4 % in trouble, on nodes and models of unequal popularity."""

    def __init__(self, requests: int, decisions: int, start: int) -> None:
        """`start`: the day's beginning, in seconds since the epoch."""
        self.start = start
        self._random = random.Random(7)
        self._gap = DAY / requests
        self._decision_every = max(1, requests // decisions) if decisions else 0
        self.made = 0

    def batch(self, size: int) -> HistoryBatch:
        records = [self._record() for _ in range(size)]
        decisions = [
            _decision(record)
            for number, record in enumerate(records, self.made - size)
            if self._decision_every and number % self._decision_every == 0
        ]
        return HistoryBatch(records, decisions, summed(records))

    def _record(self) -> RequestRecord:
        draw = self._random
        at = self.start + self.made * self._gap
        self.made += 1
        node = NODES[min(int(draw.expovariate(0.4)), 9)]
        model = MODELS[min(int(draw.expovariate(0.7)), 5)]
        failed, retried = draw.random() < 0.02, draw.random() < 0.02
        duration = draw.lognormvariate(0.5, 1.2)
        error = draw.choice(ERRORS) if failed else ""
        attempts = [Attempt(node, model, "openai", at, 1, 200, "", "", at + duration)]
        if failed or retried:
            attempts[0] = Attempt(node, model, "openai", at, 1, 502, "connection refused", "connect", at + duration)
        if retried:
            attempts.append(Attempt(NODES[0], model, "openai", at, 2, 200, "", "", at + duration))
        return RequestRecord(
            id=f"{draw.getrandbits(128):032x}",
            at=at,
            endpoint=draw.choices(ENDPOINTS, (90, 9, 1))[0],
            principal=PRINCIPALS[min(int(draw.expovariate(0.2)), 39)],
            model=model,
            node=node,
            status=502 if failed else 200,
            stream=draw.random() < 0.7,
            duration=duration,
            queue_wait=draw.random() / 10 if draw.random() < 0.2 else 0.0,
            ttft=duration / 4,
            prompt_tokens=draw.randrange(20, 4000),
            completion_tokens=draw.randrange(5, 900),
            estimated=False,
            attempts=tuple(attempts),
            error=error,
            outcome="error" if failed else "cancelled" if draw.random() < 0.005 else "ok",
        )


def _decision(record: RequestRecord) -> Decision:
    """Ten candidates with every figure that `DecisionSampler` writes of them."""
    draw = random.Random(record.id)
    usable = [node for node in NODES if node == record.node or draw.random() < 0.7]
    candidates = [Candidate(node, round(100 * draw.random(), 2), _parts(draw)) for node in usable]
    candidates += [Candidate(node, None, {}, "model not loaded") for node in NODES if node not in usable]
    reason = f"best of {len(usable)} by balanced"
    return Decision(record.at, record.id, record.model, record.node, "balanced", reason, tuple(candidates))


def _parts(draw: random.Random) -> dict[str, float]:
    return {
        **{name: round(100 * draw.random(), 2) for name in PARTS.values()},
        "inFlight": float(draw.randrange(8)),
        "successRate": round(1 - draw.random() / 50, 4),
        "p95Latency": round(10_000 * draw.random(), 1),
        **{f"policy.{name}": round(draw.random(), 6) for name in ("cost", "queue", "wait")},
    }


def summed(records: Sequence[RequestRecord]) -> list[Rollup]:
    groups: dict[tuple[int, str, str, str], list[RequestRecord]] = {}
    for record in records:
        key = int(record.at) // MINUTE * MINUTE, record.node, record.model, record.endpoint
        groups.setdefault(key, []).append(record)
    return [_rollup(key, group) for key, group in groups.items()]


def _rollup(key: tuple[int, str, str, str], records: Sequence[RequestRecord]) -> Rollup:
    durations, ttfts, failures = [0] * BUCKETS, [0] * BUCKETS, dict[str, int]()
    for record in records:
        durations[bisect_left(DURATION_BOUNDS, record.duration)] += 1
        ttfts[bisect_left(DURATION_BOUNDS, record.ttft or 0.0)] += 1
        if record.error:
            failures[record.error] = failures.get(record.error, 0) + 1
    return Rollup(
        *key,
        requests=len(records),
        answered=sum(record.outcome == "ok" for record in records),
        errors=sum(record.outcome == "error" for record in records),
        cancelled=sum(record.outcome == "cancelled" for record in records),
        streams=sum(record.stream for record in records),
        chunks=sum(record.completion_tokens for record in records if record.stream),
        prompt_tokens=sum(record.prompt_tokens for record in records),
        completion_tokens=sum(record.completion_tokens for record in records),
        duration_sum=sum(record.duration for record in records),
        ttft_sum=sum(record.ttft or 0.0 for record in records),
        queue_wait_sum=sum(record.queue_wait for record in records),
        durations=tuple(durations),
        ttfts=tuple(ttfts),
        failures=failures,
    )
