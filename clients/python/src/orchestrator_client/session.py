"""A worker from its registration to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator_client import calls
from orchestrator_client.async_client import AsyncClient
from orchestrator_client.attempts import Attempts
from orchestrator_client.errors import NotFound, OrchestratorError, RateLimited, ServiceError, Unreachable, understood
from orchestrator_client.executor import Executor, ExecutorUnavailable, Room
from orchestrator_client.handlers import Handler
from orchestrator_client.machine import usage
from orchestrator_client.notes import Notes
from orchestrator_client.reports import Reports
from orchestrator_client.wait import pause

ANEW_SECONDS = 1.0  # between two registrations of a worker that is not known
ROOM_SECONDS = 2.0  # between two looks at what an executor has room for
MOST_SLOTS = 1_000  # that the service takes
LAST_WORDS = 5.0  # seconds for what the service is told when the worker begins to end, and again in the end
_log = logging.getLogger("orchestrator_client.worker")


@dataclass(frozen=True, slots=True)
class Terms:
    """Times in seconds; see `Worker`. `concurrency` None: as much as the executor has room for."""

    node_id: str
    registration: Mapping[str, Any]
    concurrency: int | None
    grace: float
    wait: float
    heartbeat: float


class Session:
    def __init__(
        self,
        client: AsyncClient,
        handlers: Mapping[str, Handler],
        terms: Terms,
        executor: Executor | None = None,
        opened: Callable[[], None] = lambda: None,
    ) -> None:
        """`opened` is called when the executor is there."""
        self._client = client
        self._handlers = handlers
        self._terms = terms
        self._executor = executor
        self._opened = opened
        self._reports = Reports(client, terms.node_id)
        self._notes = Notes(client, terms.node_id, self._cancel)
        self._attempts = Attempts(handlers, terms.concurrency or 1, self._reports, self._notes, executor)
        self._room: Room | None = None
        self._gone: ExecutorUnavailable | None = None
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._interval = terms.heartbeat
        self._registered = 0.0

    def stop(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. Raises OrchestratorError when the service refuses the first registration, or there is nothing
        to run handlers with."""
        try:
            if await self._unless_stopped(asyncio.create_task(self._begin())):
                await self._work()
        finally:
            self._attempts.close()
            if self._executor is not None:
                self._executor.close()

    async def _begin(self) -> None:
        if self._executor is not None:
            await self._executor.open(self._handlers)
            self._opened()
            self._take_room(await self._executor.room())
        await self._register_first()

    async def _work(self) -> None:
        parts = [self._pull, self._beat, self._notes.run, self._reports.run]
        if self._executor is not None:
            parts.append(self._follow_room)
        loops = [asyncio.create_task(one()) for one in parts]
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([stop, *loops], return_when=asyncio.FIRST_COMPLETED)
            for one in loops:
                if one.done():
                    one.result()  # loops do not end by themselves: an error of ours
            await self._drain()
            if self._gone is not None:
                raise self._gone
        finally:
            for task in (stop, *loops):
                task.cancel()
            await asyncio.gather(stop, *loops, return_exceptions=True)

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
        body = {**self._terms.registration, **self._usage(), **self._offer()}
        answer = await self._client.send(calls.register(self._terms.node_id, body))
        self._registered = time.monotonic()
        with understood():
            self._interval = float(answer.get("heartbeat_interval") or self._terms.heartbeat)
        _log.info("registered as %s at %s", self._terms.node_id, self._client.base_url)

    def _usage(self) -> dict[str, float]:
        """Of what runs the handlers, as far as it is known."""
        if self._room is None:
            return usage()
        return {"memory_mb": self._room.memory_mb} if self._room.memory_mb else {}

    def _offer(self) -> dict[str, Any]:
        """What an executor has room for. A type that it cannot run now may find another worker."""
        if self._room is None or self._terms.concurrency is not None or not self._room.slots:
            return {}
        return {"max_concurrency": min(MOST_SLOTS, self._room.slots), "task_types": sorted(self._room.task_types)}

    def _take_room(self, room: Room) -> None:
        self._room = room
        if self._terms.concurrency is None:
            self._attempts.resize(min(MOST_SLOTS, room.slots))
            _log.info("room for %d tasks of %s", room.slots, ", ".join(sorted(room.task_types)) or "no type")

    async def _follow_room(self) -> None:
        """Tells the service when an executor has room for more or less."""
        assert self._executor is not None
        told = self._room
        while True:
            await asyncio.sleep(ROOM_SECONDS)
            try:
                room = await self._executor.room()
            except ExecutorUnavailable as error:
                _log.error("%s Its tasks are given back.", error.message)
                self._gone = error
                self._stopping.set()
                self._hurry.set()
                return
            if room != self._room:
                self._take_room(room)
            if self._room == told or self._stopping.is_set():
                continue
            try:
                await self._register()
            except OrchestratorError as error:
                _log.warning("the service was not told of the room: %s", error.message)
            else:
                told = self._room

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
        if isinstance(error, NotFound) and time.monotonic() - self._registered > ANEW_SECONDS:
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
                answer = await self._client.send(calls.heartbeat(self._terms.node_id, self._usage()))
                with understood():
                    unwanted = [(one["task_id"], one["attempt"]) for one in answer.get("cancel", ())]
            except OrchestratorError as error:
                failures += 1
                await self._again(error, "a heartbeat", failures)
                continue
            failures, last = 0, time.monotonic()
            for key in unwanted:
                self._cancel(*key)

    def _cancel(self, task_id: str, attempt: int) -> None:
        self._attempts.cancel(task_id, attempt)

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

    # The end

    async def _drain(self) -> None:
        """No new tasks; those that run finish within `grace`, the rest is given back. A service that does not answer
        keeps it no longer than that and the last words."""
        _log.info("stopping: %d tasks have %g s to finish", len(self._attempts.task_ids), self._terms.grace)
        finished = asyncio.create_task(self._finish())
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([finished, hurry], timeout=self._terms.grace, return_when=asyncio.FIRST_COMPLETED)
        for one in (finished, hurry):
            one.cancel()
        for ended in await asyncio.gather(finished, hurry, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended  # an error of ours
        self._attempts.release_all()
        await self._say("the end could not be told", self._tell_end())

    async def _finish(self) -> None:
        await self._say("the service was not told of the end", self._take_no_more())
        await self._attempts.finish()

    async def _take_no_more(self) -> None:
        await self._client.send(calls.heartbeat(self._terms.node_id, {"status": "maintenance"}))
        # A new poll ends the one that is open, which gives what it has; both are given back.
        for task in await self._ask(1, 0.0, None):
            self._reports.released(task["task_id"], task["attempt"])

    async def _tell_end(self) -> None:
        await self._reports.sent()
        await self._client.send(calls.heartbeat(self._terms.node_id, {"status": "offline"}))

    async def _say(self, failed: str, words: Coroutine[Any, Any, None]) -> None:
        """At the end nobody waits long for the service."""
        try:
            async with asyncio.timeout(LAST_WORDS):
                await words
        except TimeoutError:
            _log.warning("%s: no answer within %g s", failed, LAST_WORDS)
        except OrchestratorError as error:
            _log.warning("%s: %s", failed, error.message)
