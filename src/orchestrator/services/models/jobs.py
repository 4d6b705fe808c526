"""Runs model jobs: in the background, on the node that suits them, until they are done.

A job is written down before it begins. The process that runs it holds it for a few seconds at a time, and writes its
progress down with every second; when that process is gone another one, or its successor, takes the job up. Ollama goes
on with a pull where it was, and two that ask for the same pull share it, so a job that runs twice does no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.domain.errors import Conflict, NoNode, NotFound, OrchestratorError, StorageUnavailable, UpstreamError
from orchestrator.domain.model_job import JobKind, JobStatus, ModelJob, Progress
from orchestrator.domain.model_name import normalise
from orchestrator.ports.model_jobs import Hold, JobQuery, ModelJobStore
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.library import Library
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.models.disk import places
from orchestrator.services.models.job_run import Broken, Refused, run

BEAT = 1.0  # seconds between two writes of a job's progress
HELD = 6.0  # seconds after which a job whose process is gone is taken up
AT_ONCE = 2  # jobs on one node; others wait
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a node is asked again
PRUNE_EVERY = 3600.0
MOST_LAYERS = 10_000  # a model has ten
_log = logging.getLogger("orchestrator.models")


@dataclass(frozen=True, slots=True)
class JobRules:
    """Times in seconds: a job fails when nothing has moved for `patience`, and is forgotten `kept` after its end. After
    `away` it gives up a node that is down, where it may go to another, and one that is gone."""

    patience: float = 600.0
    kept: float = 30 * 86_400.0
    away: float = 30.0


@dataclass(slots=True)
class _Live:
    """A job that this process runs."""

    job: ModelJob
    moved: float  # monotonic seconds of the last progress
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False
    cancelled: bool = False
    refused: dict[str, str] = field(default_factory=dict)  # node -> why not there
    reached: dict[str, int] = field(default_factory=dict)  # layer, or words -> the most bytes of it
    task: asyncio.Task[None] | None = None

    def put(self, job: ModelJob) -> None:
        self.job = job
        self.changed.set()
        self.changed = asyncio.Event()

    def advances(self, progress: Progress) -> bool:
        """Whether this was never told before: a server that says the same with every try gets nowhere."""
        what = progress.digest or progress.detail
        if progress.completed <= self.reached.get(what, -1) or len(self.reached) >= MOST_LAYERS:
            return False
        self.reached[what] = progress.completed
        return True

    def interrupt(self) -> None:
        """Not when it has ended: what is left then is to write that down."""
        if self.task is not None and not self.job.status.ended:
            self.task.cancel()


class ModelJobs:
    """The jobs of the fleet, those of other processes on the same database included."""

    def __init__(
        self,
        fleet: Fleet,
        health: Health,
        library: Library,
        store: ModelJobStore,
        rules: JobRules,
        draw: Callable[[], str],
    ) -> None:
        """`draw` gives a new id with every call. `rules` may be exchanged while jobs run."""
        self.rules = rules
        self._fleet = fleet
        self._health = health
        self._library = library
        self._store = store
        self._draw = draw
        self._owner = draw()
        self._live: dict[str, _Live] = {}
        self._starting = asyncio.Lock()  # of two that ask for the same the second gets the first's job
        self._pruned = float("-inf")
        self._ending = False

    # What is asked for

    async def start(
        self,
        kind: JobKind,
        model: str,
        candidates: Collection[str] = (),
        *,
        request: Mapping[str, object] | None = None,
        who: str = "",
    ) -> ModelJob:
        """Begins a job on one of these nodes, or on the one of the fleet that has most room. One that does the same
        there already is returned instead. Raises InvalidRequest, NotFound, NoNode and StorageUnavailable."""
        name = normalise(model)
        for node_id in candidates:
            self._library.keeper(node_id)
        wanted = dict(request or {})
        async with self._starting:
            same = self._running(kind, name, candidates, wanted)
            if same is not None:
                return same
            rooms = places(self._fleet, name, candidates, self._load())
            if not rooms and len(candidates) != 1:
                raise NoNode("No Ollama server is healthy, active and has room", details={"model": name})
            node_id = next(iter(candidates)) if len(candidates) == 1 else rooms[0].node
            job = ModelJob(self._draw(), kind, name, self._wall(), node_id, tuple(candidates), wanted, who=who)
            await self._store.add(job, self._owner, self._wall() + HELD)
            _log.info("model_job_started", extra=_told(job))
            self._launch(job)
        return job

    def choose(self, model: str, candidates: Collection[str], count: int) -> list[str]:
        """The best nodes to bring a model to, that do not have it. Raises InvalidRequest, NotFound, NoNode, Conflict
        when there are fewer than `count`."""
        name = normalise(model)
        for node_id in candidates:
            self._library.keeper(node_id)
        having = self._fleet.catalogue.nodes(name)
        found = [room.node for room in places(self._fleet, name, candidates, self._load()) if room.node not in having]
        if not found and not having:
            raise NoNode("No Ollama server is healthy, active and has room", details={"model": name})
        if len(found) < count:
            raise Conflict(
                f"{len(found)} servers can take the model '{name}' and do not have it, {count} are asked for"
            )
        return found[:count]

    async def get(self, job_id: str) -> ModelJob:
        """Raises NotFound."""
        live = self._live.get(job_id)
        job = live.job if live is not None else await self._store.get(job_id)
        if job is None:
            raise NotFound(f"Model job '{job_id}' not found")
        return job

    async def list(self, query: JobQuery, limit: int, offset: int = 0) -> tuple[tuple[ModelJob, ...], int]:
        """A page, newest first, and how many match in all."""
        await self._write()
        return await self._store.list(query, limit, offset)

    async def follow(self, job_id: str) -> AsyncGenerator[ModelJob]:
        """The job as it is, and each time it has changed, until it has ended. Changes that follow each other faster
        than they are read are one. Raises NotFound."""
        seen: ModelJob | None = None
        while True:
            live = self._live.get(job_id)
            job = await self.get(job_id)
            if job != seen:
                yield job
                seen = job
            elif live is not None and live.job == seen:
                await live.changed.wait()
            elif not job.status.ended:
                await asyncio.sleep(BEAT)  # another process runs it
            if seen.status.ended:
                return

    async def cancel(self, job_id: str) -> ModelJob:
        """Ends a job; what the node has of the model so far stays on its disk. Raises NotFound, Conflict."""
        job = await self.get(job_id)
        if job.status.ended or not await self._store.cancel(job_id):
            raise Conflict(f"Model job '{job_id}' has ended already", details={"jobId": job_id})
        live = self._live.get(job_id)
        if live is not None and live.task is not None:
            live.cancelled = True
            live.interrupt()
            await asyncio.wait([live.task])
            return live.job
        return await self.get(job_id)

    async def retry(self, job_id: str, who: str = "") -> ModelJob:
        """A new job that does what an ended one should have done. Raises NotFound, Conflict and what `start` raises."""
        job = await self.get(job_id)
        if not job.status.ended:
            raise Conflict(f"Model job '{job_id}' is still running")
        return await self.start(job.kind, job.model, job.candidates, request=job.request, who=who)

    # Keeping them

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Writes progress down and takes up jobs that nobody runs, until cancelled."""
        while True:
            try:
                await self._write()
                now = self._wall()
                for job in await self._store.claim(self._owner, now, now + HELD):
                    if job.id not in self._live:
                        _log.info("model_job_resumed", extra=_told(job))
                        self._launch(replace(job, status=JobStatus.QUEUED))
                if self._fleet.clock.now - self._pruned > PRUNE_EVERY:
                    self._pruned = self._fleet.clock.now
                    await self._store.prune(now - self.rules.kept)
            except StorageUnavailable as error:
                _log.warning("model_jobs_not_written", extra={"error": error.message})
            await sleep(BEAT)

    async def stop(self) -> None:
        """Lets go of all jobs, so that the next process takes them up at once."""
        self._ending = True
        tasks = [live.task for live in self._live.values() if live.task is not None]
        for live in list(self._live.values()):
            live.interrupt()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        for live in list(self._live.values()):
            hold = await self._store.save(live.job, self._owner, self._wall() + HELD)
            if hold is not Hold.HELD:
                live.lost, live.cancelled = hold is Hold.LOST, hold is Hold.CANCELLING
                live.interrupt()

    def _wall(self) -> float:
        return self._fleet.clock.wall()

    def _load(self) -> Counter[str]:
        return Counter(live.job.node for live in self._live.values() if not live.job.status.ended)

    def _running(
        self, kind: JobKind, model: str, candidates: Collection[str], request: Mapping[str, object]
    ) -> ModelJob | None:
        wanted = (kind, model, tuple(candidates), request)
        for job in [live.job for live in self._live.values()]:
            if not job.status.ended and (job.kind, job.model, job.candidates, job.request) == wanted:
                return job
        return None

    # One of them

    def _launch(self, job: ModelJob) -> None:
        live = self._live[job.id] = _Live(job, self._fleet.clock.tick())
        live.task = asyncio.create_task(self._whole(live))

    async def _whole(self, live: _Live) -> None:
        try:
            await self._drive(live)
        except asyncio.CancelledError:
            if live.cancelled:
                self._end(live, JobStatus.CANCELLED, "cancelled")
            elif self._ending:
                live.put(replace(live.job, status=JobStatus.QUEUED))
        except Refused as refused:
            self._end(live, JobStatus.FAILED, refused.reason)
        except OrchestratorError as error:
            self._end(live, JobStatus.FAILED, error.message)
        except Exception as error:  # noqa: BLE001 - process edge: logged whole, and the job does not run for ever
            _log.error("bug", exc_info=error)
            self._end(live, JobStatus.FAILED, "internal error")
        if not live.lost:
            await self._last_write(live)
        self._live.pop(live.job.id, None)
        live.changed.set()

    async def _last_write(self, live: _Live) -> None:
        """What could not be written down is done again by whoever takes the job up: that does no harm."""
        try:
            await self._store.save(live.job, self._owner, 0.0)
        except StorageUnavailable as error:
            _log.warning("model_jobs_not_written", extra={"error": error.message})

    async def _drive(self, live: _Live) -> None:
        pause = FIRST_PAUSE
        while True:
            moved = live.moved
            reason = "no healthy server can take it"
            node = self._choose(live)
            if node is not None:
                try:
                    await self._attempt(live, node)
                    self._end(live, JobStatus.SUCCEEDED)
                    return
                except Refused as refused:
                    reason = refused.reason
                    if not refused.elsewhere or len(live.job.candidates) == 1:
                        raise
                    live.refused[node.id] = reason
                    live.put(replace(live.job, node="", status=JobStatus.QUEUED, error=f"{node.id}: {reason}"))
                    continue
                except UpstreamError as error:
                    reason = error.message
                except Broken as broken:
                    reason = broken.reason
            if self._fleet.clock.tick() - live.moved >= self.rules.patience:
                raise Refused(reason)
            pause = FIRST_PAUSE if node is None or live.moved > moved else pause
            live.put(replace(live.job, error=reason))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _choose(self, live: _Live) -> FleetNode | None:
        """The node to ask now. Raises Refused when there is none and none will come."""
        job = live.job
        here = self._fleet.get(job.node) if job.node and job.node not in live.refused else None
        if here is not None and here.healthy:
            return here
        away = self._fleet.clock.tick() - live.moved >= self.rules.away
        if len(job.candidates) == 1:
            if here is None and away:  # at a start, nodes that were discovered are not there yet
                raise Refused(f"the server '{job.candidates[0]}' was removed")
            return None
        if here is not None and not away:
            return None
        load = self._load()
        rooms = [room for room in places(self._fleet, job.model, job.candidates, load) if room.node not in live.refused]
        if rooms:
            return self._fleet.get(rooms[0].node)
        if live.refused:
            raise Refused("; ".join(f"{node}: {reason}" for node, reason in live.refused.items()))
        return None

    async def _attempt(self, live: _Live, node: FleetNode) -> None:
        """One request to a node, when it is this job's turn there."""
        while self._ahead(live, node) >= AT_ONCE:
            live.moved = self._fleet.clock.tick()
            await asyncio.sleep(FIRST_PAUSE)
        job = live.job
        live.put(
            replace(
                job,
                node=node.id,
                status=JobStatus.RUNNING,
                started_at=job.started_at or self._wall(),
                tries=job.tries + 1,
                error="",
            )
        )
        async for progress in run(self._library, node, live.job):
            if live.advances(progress):
                live.moved = self._fleet.clock.tick()
            onward = _onward(live.job.progress, progress)
            if onward != live.job.progress:
                live.put(replace(live.job, progress=onward))
        await self._health.check(node)  # the catalogue knows it now, not with the next probe

    def _ahead(self, live: _Live, node: FleetNode) -> int:
        """How many other jobs this node works on."""
        return sum(
            other.job.status is JobStatus.RUNNING and other.job.node == node.id
            for other in self._live.values()
            if other is not live
        )

    def _end(self, live: _Live, status: JobStatus, error: str = "") -> None:
        live.put(replace(live.job, status=status, error=error, ended_at=self._wall()))
        if status is JobStatus.FAILED:
            _log.warning("model_job_failed", extra={**_told(live.job), "error": error})
        else:
            _log.info("model_job_ended", extra={**_told(live.job), "status": status.value})


def _onward(before: Progress, after: Progress) -> Progress:
    """Words without numbers, such as `verifying`, are about no layer, and leave the last numbers where they are."""
    return after if after.total else replace(before, detail=after.detail, digest="")


def _told(job: ModelJob) -> dict[str, object]:
    return {"job": job.id, "kind": job.kind.value, "model": job.model, "node": job.node}
