"""A gateway without nodes, and records of requests that it might have had."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from orchestrator.adapters.http1.pool import ConnectionPool
from orchestrator.adapters.memory.history import MemoryHistory
from orchestrator.bootstrap import values
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.limiter import RateLimiter
from orchestrator.domain.placement import Placement, Roster
from orchestrator.domain.queue import AdmissionQueue
from orchestrator.domain.retry import RetryBudget
from orchestrator.ports.history import HistoryBatch
from orchestrator.ports.record import Attempt, RequestRecord
from orchestrator.services.clock import Clock
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.gateway.exchange import Exchange
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.settings import Settings

AT = 1_700_000_000.0


def quiet_gateway() -> Gateway:
    settings = Settings()
    rand = random.Random(1).random
    fleet = Fleet(Clock(), Roster(), values.breaker_policy(settings), rand, lambda spec: None)
    queue: AdmissionQueue[Exchange] = AdmissionQueue(values.queue_policy(settings))
    return Gateway(
        fleet,
        ConnectionPool(),
        Placement("weighted", rand=rand),
        queue,
        RateLimiter(),
        RetryBudget(1, 1),
        values.retry_policy(settings),
        values.limits(settings),
        rand=rand,
        instance="test",
        on_bug=lambda request_id, error: None,
    )


def record(number: int = 0, **changes: Any) -> RequestRecord:
    """An answered request, on node `a`."""
    fields: dict[str, Any] = {
        "id": f"r{number}",
        "at": AT + number / 1000,
        "endpoint": "ollama.chat",
        "principal": "p",
        "model": "m",
        "node": "a",
        "status": 200,
        "stream": False,
        "duration": 0.2,
        "queue_wait": 0.0,
        "ttft": 0.1,
        "prompt_tokens": 3,
        "completion_tokens": 7,
        "estimated": False,
        "attempts": (Attempt("a", "m", "ollama", 1.0, ended=1.2),),
        "error": "",
        "outcome": "ok",
    }
    return RequestRecord(**{**fields, **changes})


def failed(number: int, **changes: Any) -> RequestRecord:
    return record(number, **{"outcome": "error", "error": "stalled", "status": 504, "ttft": None, **changes})


def keep_all(gateway: Gateway, records: Iterable[RequestRecord]) -> None:
    for one in records:
        gateway.keep(one)


class FlakyHistory(MemoryHistory):
    """Refuses writes while `away`, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.refused = 0
        self.batches: list[HistoryBatch] = []

    async def append(self, batch: HistoryBatch) -> None:
        if self.away:
            self.refused += 1
            raise StorageUnavailable("gone")
        await super().append(batch)
        self.batches.append(batch)
