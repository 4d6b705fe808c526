"""Parts of the service with failpoints around them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import TypeVar

from orchestrator.bootstrap.seams import Seams
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import Worker
from orchestrator.ports.ledger import Counts, Ledger, News, Pipeline, TaskQuery, Verdict
from orchestrator.ports.upstream import Call, FetchResponse, Receiver, ResponseHead, Target, Upstream
from orchestrator.services.tasks.keeper import LEASE
from orchestrator.services.tasks.scheduler import Carrier
from orchestrator.testing.failpoints.failpoint import Failpoint

T = TypeVar("T")
INTO = 0.0005  # seconds that a transaction is under way
_ENDED = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.TIMEOUT, TaskState.RETRYING})


def around(point: Failpoint, lease: float = LEASE) -> Seams:
    """The seams of a service that dies at `point`."""
    return Seams(
        ledger=lambda ledger: FailingLedger(ledger, point),
        carrier=lambda carrier: FailingCarrier(carrier, point),
        upstream=lambda upstream: FailingUpstream(upstream, point),
        lease=lease,
    )


class FailingLedger:
    """`Ledger` with failpoints around what changes it."""

    def __init__(self, ledger: Ledger, point: Failpoint) -> None:
        self._ledger = ledger
        self._behind = ledger.pipeline
        self._point = point
        self.pipeline: Pipeline | None = self if ledger.pipeline is not None else None

    async def commit(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict]:
        return await self._around(changes, self._ledger.commit(changes, news))

    async def commit_behind(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict] | None:
        assert self._behind is not None
        return await self._around(changes, self._behind.commit_behind(changes, news))

    async def _around(self, changes: Sequence[Change], commit: Awaitable[T]) -> T:
        point = self._point
        point.reached("ledger.before-commit")
        kinds = [_kind(change) for change in changes]
        for kind in ("submit", "assign", "start", "report", "release"):
            point.reached(f"{kind}.before-record", kinds.count(kind))
        if point.due("ledger.in-commit"):
            asyncio.get_running_loop().call_later(INTO, point.strike)
        verdicts = await commit
        if verdicts is None:
            return verdicts
        point.reached("ledger.after-commit")
        point.reached("submit.before-answer", kinds.count("submit"))
        for kind in ("assign", "start", "report", "release"):
            point.reached(f"{kind}.after-record", kinds.count(kind))
        return verdicts

    async def get(self, ids: Collection[str]) -> dict[str, Task]:
        return await self._ledger.get(ids)

    async def by_key(self, principal: str, key: str) -> Task | None:
        return await self._ledger.by_key(principal, key)

    async def page(self, query: TaskQuery) -> tuple[Task, ...]:
        return await self._ledger.page(query)

    async def counts(self) -> Counts:
        return await self._ledger.counts()

    async def take_over(
        self, owner: str, *, seconds: float, alone: bool = False, limit: int = 5_000
    ) -> tuple[Task, ...]:
        self._point.reached("takeover.before-take")
        taken = await self._ledger.take_over(owner, seconds=seconds, alone=alone, limit=limit)
        if taken:
            self._point.reached("takeover.before-adopt")
        return taken

    async def steal(self, owner: str, types: Collection[str], limit: int) -> tuple[Task, ...]:
        return await self._ledger.steal(owner, types, limit)


class FailingCarrier:
    """`Carrier` with failpoints around deliveries."""

    def __init__(self, carrier: Carrier, point: Failpoint) -> None:
        self._carrier = carrier
        self._point = point

    def deliver(self, worker: Worker, task: Task) -> None:
        self._point.reached("carrier.before-deliver")
        self._carrier.deliver(worker, task)
        self._point.reached("carrier.after-deliver")

    def withdraw(self, worker: Worker, task: Task) -> None:
        self._carrier.withdraw(worker, task)


class FailingUpstream:
    """`Upstream` with failpoints around requests."""

    def __init__(self, upstream: Upstream, point: Failpoint) -> None:
        self._upstream = upstream
        self._point = point

    def send(
        self, target: Target, head: bytes, body: bytes | bytearray, receiver: Receiver, connect_timeout: float
    ) -> Call:
        self._point.reached("node.before-send")
        return self._upstream.send(target, head, body, _Answered(receiver, self._point), connect_timeout)

    async def fetch(
        self,
        target: Target,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float,
        max_body: int = 32 << 20,
    ) -> FetchResponse:
        self._point.reached("node.before-send")
        answer = await self._upstream.fetch(
            target, method, path, headers=headers, body=body, timeout=timeout, max_body=max_body
        )
        self._point.reached("node.after-answer")
        return answer

    def keep_idle(self, count: int) -> None:
        self._upstream.keep_idle(count)

    def forget(self, target: Target) -> None:
        self._upstream.forget(target)

    async def close(self) -> None:
        await self._upstream.close()


class _Answered:
    """`Receiver` with a failpoint at the end of the answer."""

    def __init__(self, receiver: Receiver, point: Failpoint) -> None:
        self._point = point
        self.on_head = receiver.on_head
        self.on_data = receiver.on_data
        self.on_error = receiver.on_error
        self.broken = receiver.broken
        self._end = receiver.on_end
        self._whole = receiver.on_whole

    def on_end(self) -> None:
        self._point.reached("node.after-answer")
        self._end()

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        self._point.reached("node.after-answer")
        self._whole(head, body)


def _kind(change: Change) -> str:
    """What a change is about, as the names of the failpoints have it."""
    now, before = change.task.state, change.before
    if before is None:
        return "submit"
    if now is TaskState.ASSIGNED:
        return "assign"
    if now is TaskState.RUNNING:
        return "start" if before is TaskState.ASSIGNED else ""
    if before.active:
        return "report" if now in _ENDED else "release" if now is TaskState.QUEUED else ""
    return ""
