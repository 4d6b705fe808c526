"""What became of attempts: kept until the service has it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator_client import calls
from orchestrator_client.async_client import AsyncClient
from orchestrator_client.errors import BadRequest, OrchestratorError, understood
from orchestrator_client.wait import pause

MOST, MOST_BYTES = 500, 4 << 20  # in one request
# The service's words for "never": the attempt is no longer the current one, or the report makes no sense.
REFUSED = frozenset({"conflict", "not_found", "invalid_request", "too_large"})
_log = logging.getLogger("orchestrator_client.worker")


@dataclass(frozen=True, slots=True)
class _Report:
    task_id: str
    attempt: int
    body: bytes


class Reports:
    """Sends reports in batches: what came up while one request was under way goes with the next. Tries for ever, until
    the service has taken or refused each."""

    def __init__(self, client: AsyncClient, node_id: str) -> None:
        self._client = client
        self._node = node_id
        self._waiting: deque[_Report] = deque()
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()
        self._alone = False  # one by one, to find the report that the service cannot read

    @property
    def task_ids(self) -> Collection[str]:
        """Tasks whose end the service may not know yet."""
        return {one.task_id for one in self._waiting}

    def completed(self, task_id: str, attempt: int, seconds: float, result: str) -> None:
        """`result` is JSON."""
        self._add(task_id, attempt, result, status="completed", execution_time=seconds)

    def failed(self, task_id: str, attempt: int, seconds: float, error: str, *, retryable: bool) -> None:
        said = error.encode("utf-8", "replace").decode()[:4_000]
        self._add(task_id, attempt, status="failed", error_message=said, retryable=retryable, execution_time=seconds)

    def released(self, task_id: str, attempt: int) -> None:
        """Somebody else may have it."""
        self._add(task_id, attempt, status="released")

    def _add(self, task_id: str, attempt: int, result: str | None = None, **said: Any) -> None:
        body = {"task_id": task_id, "attempt": attempt, "node_id": self._node, **said}
        text = json.dumps(body, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        if result is not None:
            text = f'{text[:-1]},"result_data":{result}}}'
        self._waiting.append(_Report(task_id, attempt, text.encode()))
        self._none.clear()
        self._some.set()

    async def sent(self) -> None:
        """Waits until nothing is left."""
        await self._none.wait()

    async def run(self) -> None:
        """For ever."""
        failures = 0
        while True:
            await self._some.wait()
            batch = self._next()
            try:
                kept = self._left(batch, await self._client.send(calls.report([one.body for one in batch])))
                problem = f"{len(kept)} results were not taken yet"
                wait = None
            except BadRequest as error:
                kept = self._unreadable(batch, error)
                problem, wait = "", None
            except OrchestratorError as error:
                kept, problem, wait = batch, error.message, error.retry_after
            self._settle(len(batch), kept)
            if kept and problem:
                failures += 1
                _log.warning("results are kept and sent again: %s", problem)
                await asyncio.sleep(pause(failures, wait))
            else:
                failures = 0

    def _next(self) -> list[_Report]:
        """The oldest ones; they stay in line until they are settled."""
        batch: list[_Report] = []
        size = 0
        for one in self._waiting:
            size += len(one.body)
            if batch and (self._alone or len(batch) == MOST or size > MOST_BYTES):
                break
            batch.append(one)
        return batch

    def _settle(self, count: int, kept: Sequence[_Report]) -> None:
        for _ in range(count):
            self._waiting.popleft()
        self._waiting.extendleft(reversed(kept))
        if not self._waiting:
            self._some.clear()
            self._none.set()

    def _left(self, batch: Sequence[_Report], answers: list[dict[str, Any]]) -> list[_Report]:
        """Those to send again. Raises OrchestratorError."""
        kept = []
        with understood():
            for one, told in zip(batch, answers, strict=True):
                if told["success"]:
                    continue
                if told.get("code") in REFUSED:
                    what = "the result of task %s, attempt %d, is refused: %s"
                    _log.info(what, one.task_id, one.attempt, told["error"])
                else:
                    kept.append(one)
        return kept

    def _unreadable(self, batch: list[_Report], error: BadRequest) -> list[_Report]:
        if len(batch) > 1:
            self._alone = True
            return batch
        self._alone = False
        one = batch[0]
        _log.error("the result of task %s, attempt %d, cannot be taken: %s", one.task_id, one.attempt, error.message)
        return []
