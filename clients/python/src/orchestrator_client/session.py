"""A worker from its registration to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator_client import calls
from orchestrator_client.async_client import AsyncClient
from orchestrator_client.attempts import Attempts, Key
from orchestrator_client.errors import NotFound, OrchestratorError, RateLimited, ServiceError, Unreachable
from orchestrator_client.handlers import Handler
from orchestrator_client.machine import usage
from orchestrator_client.reports import Reports
from orchestrator_client.wait import pause

PROGRESS_SECONDS = 0.25  # between two messages about progress
LAST_WORDS = 5.0  # seconds for reports when the worker ends
_log = logging.getLogger("orchestrator_client.worker")


@dataclass(frozen=True, slots=True)
class Terms:
    """Times in seconds; see `Worker`."""

    node_id: str
    registration: Mapping[str, Any]
    concurrency: int
    grace: float
    wait: float
    heartbeat: float


class Session:
    def __init__(self, client: AsyncClient, handlers: Mapping[str, Handler], terms: Terms) -> None:
        self._client = client
        self._terms = terms
        self._reports = Reports(client, terms.node_id)
        self._attempts = Attempts(handlers, terms.concurrency, self._reports, self._note)
        self._progress: dict[Key, tuple[float | None, str]] = {}
        self._some_progress = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._interval = terms.heartbeat

    def stop(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. Raises OrchestratorError when the service refuses the first registration."""
        registered: asyncio.Task[None] = asyncio.create_task(self._register_first())
        if not await self._unless_stopped(registered):
            return
        loops = [asyncio.create_task(one()) for one in (self._pull, self._beat, self._tell, self._reports.run)]
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([stop, *loops], return_when=asyncio.FIRST_COMPLETED)
            for one in loops:
                if one.done():
                    one.result()  # loops never end: an error of ours
            await self._drain()
        finally:
            for task in (stop, *loops):
                task.cancel()
            await asyncio.gather(stop, *loops, return_exceptions=True)
            self._attempts.close()

    async def _unless_stopped(self, task: asyncio.Task[None]) -> bool:
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stop, task], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False

    # Registration and heartbeats

    async def _register(self) -> None:
        answer = await self._client.send(calls.register(self._terms.node_id, {**self._terms.registration, **usage()}))
        self._interval = float(answer.get("heartbeat_interval") or self._terms.heartbeat)
        _log.info("registered as %s at %s", self._terms.node_id, self._client.base_url)

    async def _register_first(self) -> None:
        """Waits for a service that is not there yet; raises what it says when it does not want this worker."""
        failures = 0
        while True:
            try:
                await self._register()
                return
            except (Unreachable, ServiceError, RateLimited) as error:
                failures += 1
                await self._later("the registration", error, failures)

    async def _later(self, what: str, error: OrchestratorError, failures: int) -> None:
        _log.warning("%s failed and is tried again: %s", what, error.message)
        await asyncio.sleep(pause(failures, error.retry_after))

    async def _again(self, error: OrchestratorError, what: str, failures: int) -> None:
        """After a failure: a service that does not know this worker is told; any other is asked again later."""
        if isinstance(error, NotFound):
            try:
                await self._register()
            except OrchestratorError as refused:
                error = refused
            else:
                return
        await self._later(what, error, failures)

    async def _beat(self) -> None:
        failures = 0
        last = time.monotonic()
        while True:
            # More often while tasks run: the answers tell which of them are cancelled.
            await asyncio.sleep(min(self._terms.heartbeat, self._interval))
            if not self._attempts.task_ids and time.monotonic() - last < self._interval:
                continue
            try:
                answer = await self._client.send(calls.heartbeat(self._terms.node_id, usage()))
            except OrchestratorError as error:
                failures += 1
                await self._again(error, "a heartbeat", failures)
                continue
            failures, last = 0, time.monotonic()
            for one in answer.get("cancel", ()):
                self._attempts.cancel(one["task_id"], one["attempt"])

    # Tasks

    async def _pull(self) -> None:
        failures = 0
        while True:
            await self._attempts.room()
            if self._stopping.is_set():
                await asyncio.Event().wait()  # the rest is the drain's
            try:
                tasks = await self._ask(self._attempts.free, self._terms.wait, self._known())
            except OrchestratorError as error:
                failures += 1
                await self._again(error, "asking for tasks", failures)
                continue
            failures = 0
            for task in tasks:
                if self._stopping.is_set():
                    self._reports.released(task["task_id"], task["attempt"])
                else:
                    self._attempts.begin(task)

    async def _ask(self, limit: int, wait: float, running: list[str] | None) -> list[dict[str, Any]]:
        return await self._client.send(calls.pull(self._terms.node_id, limit, wait, running))

    def _known(self) -> list[str]:
        """Tasks that this worker has. What the service gave it besides was lost on the way."""
        return sorted({*self._attempts.task_ids, *self._reports.task_ids})

    def _note(self, task_id: str, attempt: int, part: float | None, message: str) -> None:
        self._progress[task_id, attempt] = (part, message)
        self._some_progress.set()

    async def _tell(self) -> None:
        while True:
            await self._some_progress.wait()
            self._some_progress.clear()
            noted, self._progress = self._progress, {}
            await asyncio.gather(*(self._tell_one(key, *said) for key, said in noted.items()))
            await asyncio.sleep(PROGRESS_SECONDS)

    async def _tell_one(self, key: Key, part: float | None, message: str) -> None:
        task_id, attempt = key
        if task_id not in self._attempts.task_ids:
            return
        body = {"attempt": attempt, "node_id": self._terms.node_id, "progress": part, "message": message[:4_000]}
        try:
            unwanted = await self._client.send(calls.progress(task_id, body))
        except OrchestratorError as error:
            _log.debug("the progress of task %s was not taken: %s", task_id, error.message)
        else:
            if unwanted:
                self._attempts.cancel(task_id, attempt)

    # The end

    async def _drain(self) -> None:
        """No new tasks; those that run finish within `grace`, the rest is given back."""
        _log.info("stopping: %d tasks have %g s to finish", len(self._attempts.task_ids), self._terms.grace)
        try:
            await self._client.send(calls.heartbeat(self._terms.node_id, {"status": "maintenance"}))
            # A new poll ends the one that is open, which gives what it has; both are given back.
            for task in await self._ask(1, 0.0, None):
                self._reports.released(task["task_id"], task["attempt"])
        except OrchestratorError as error:
            _log.warning("the service was not told of the end: %s", error.message)
        finished = asyncio.create_task(self._attempts.finish())
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([finished, hurry], timeout=self._terms.grace, return_when=asyncio.FIRST_COMPLETED)
        for one in (finished, hurry):
            one.cancel()
        self._attempts.release_all()
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self._reports.sent()
                await self._client.send(calls.heartbeat(self._terms.node_id, {"status": "offline"}))
        except (TimeoutError, OrchestratorError) as error:
            _log.warning("the end could not be told: %s", error)
