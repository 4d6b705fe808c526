"""Loads models into nodes' memory and takes them out again.

Only Ollama servers load on demand. A load there is a request without a prompt; embedding models get a tiny input.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.domain.errors import NoNode, NotFound, OrchestratorError
from orchestrator.domain.model_name import key_of
from orchestrator.domain.node import Dialect, ModelEntry
from orchestrator.ports.upstream import FetchResponse, Upstream
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.library import told
from orchestrator.services.fleet.node import FleetNode

UNLOAD_SECONDS = 30.0
_log = logging.getLogger("orchestrator.models")


class WarmupStatus(StrEnum):
    QUEUED = "queued"  # the node loads another model first
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOT_APPLICABLE = "not_applicable"  # the node does not load on demand

    @property
    def running(self) -> bool:
        return self in (WarmupStatus.QUEUED, WarmupStatus.LOADING)


@dataclass(slots=True)
class Warmup:
    """One load on one node. `estimate` and `seconds` are None where nothing was measured."""

    id: str
    node: str
    model: str  # the catalogue's name
    status: WarmupStatus = WarmupStatus.QUEUED
    ended: float = 0.0  # seconds since the epoch
    estimate: float | None = None  # s
    seconds: float | None = None  # that the load took
    reason: str = ""  # why it failed, or does not apply
    task: asyncio.Task[None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class WarmupRules:
    """Times in seconds. `keep_alive` None leaves it to the node; below 0 is for ever."""

    timeout: float = 300.0
    keep_alive: float | None = None
    keep_alive_for: Mapping[str, float] = field(default_factory=dict)

    def keep(self, model: str) -> float | None:
        wanted = key_of(model)
        return next((kept for name, kept in self.keep_alive_for.items() if key_of(name) == wanted), self.keep_alive)


class Warmups:
    """Runs loads in the background, one at a time on a node, and remembers the last of each model on each node."""

    def __init__(self, fleet: Fleet, health: Health, upstream: Upstream, rules: WarmupRules) -> None:
        self.rules = rules
        self.jobs: dict[tuple[str, str], Warmup] = {}  # by node and model
        self._fleet = fleet
        self._health = health
        self._upstream = upstream
        self._places: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._serial = 0
        fleet.on_lost.append(self._forget)

    def _forget(self, node_id: str) -> None:
        if self._fleet.get(node_id) is None:
            for key in [key for key in self.jobs if key[0] == node_id]:
                self._cancel(self.jobs.pop(key))
            self._places.pop(node_id, None)

    # Into memory

    def start(self, model: str, node_ids: list[str] | None = None) -> list[Warmup]:
        """Begins to load a catalogue's model on these nodes, or on all healthy ones that have it. A load that runs is
        not begun again. Raises NotFound and NoNode."""
        fleet = self._fleet
        entries = fleet.catalogue.nodes(model)
        wanted = [node_id for node_id in entries if node_id in fleet.nodes] if node_ids is None else node_ids
        for node_id in wanted:
            if fleet.get(node_id) is None:
                raise NotFound(f"Server '{node_id}' not found")
            if node_id not in entries:
                raise NotFound(f"Model '{model}' is not on server '{node_id}'")
        healthy = [node_id for node_id in dict.fromkeys(wanted) if fleet.nodes[node_id].healthy]
        if not healthy:
            raise NoNode(f"No healthy server to load the model '{model}' on", details={"model": model})
        return [self._one(fleet.nodes[node_id], model, entries[node_id]) for node_id in healthy]

    def _one(self, node: FleetNode, model: str, entry: ModelEntry) -> Warmup:
        known = self.jobs.get((node.id, model))
        if known is not None and known.status.running:
            return known
        self._serial += 1
        job = Warmup(f"warmup-{self._serial}", node.id, model)
        if Dialect.OLLAMA not in node.dialects:
            job.status = WarmupStatus.NOT_APPLICABLE
            job.reason = "This server does not load on demand: it serves what it lists."
            return job
        job.estimate = self.load_time(node, model)
        self.jobs[node.id, model] = job
        job.task = asyncio.create_task(self._run(job, node, entry))
        return job

    def load_time(self, node: FleetNode, model: str) -> float | None:
        """Seconds, as measured on this node, or else on any other; None before the first load."""
        return node.state.load_cost.get(model) or self._fleet.roster.load_cost.get(model)

    async def _run(self, job: Warmup, node: FleetNode, entry: ModelEntry) -> None:
        try:
            async with self._places[node.id]:
                job.status = WarmupStatus.LOADING
                reason = await self._load(job, node, entry)
                if not reason:
                    await self._health.check(node)  # placement hears of it now, not with the next probe
            self._end(job, WarmupStatus.FAILED if reason else WarmupStatus.LOADED, reason)
        except asyncio.CancelledError:
            self._end(job, WarmupStatus.CANCELLED, "cancelled")
        except OrchestratorError as error:
            self._end(job, WarmupStatus.FAILED, error.message)

    async def _load(self, job: Warmup, node: FleetNode, entry: ModelEntry) -> str:
        """Why the node refused, or ''."""
        clock, state = self._fleet.clock, node.state
        cold = state.loaded is not None and job.model not in state.loaded
        began = clock.tick()
        answer = await self._ask(node, job.model, entry)
        if answer.status >= 300:
            return told(answer)
        if cold:
            job.seconds = clock.tick() - began
            state.learn_load(job.model, job.seconds)
        return ""

    async def _ask(self, node: FleetNode, model: str, entry: ModelEntry) -> FetchResponse:
        kept = self.rules.keep(model)
        common: dict[str, Any] = {"model": entry.name} | ({} if kept is None else {"keep_alive": _seconds(kept)})
        timeout = self.rules.timeout
        if "embedding" in entry.capabilities and "completion" not in entry.capabilities:
            return await self._post(node, "/api/embed", {**common, "input": "warm-up"}, timeout)
        return await self._post(node, "/api/generate", {**common, "prompt": "", "stream": False}, timeout)

    async def _post(self, node: FleetNode, path: str, body: dict[str, Any], timeout: float) -> FetchResponse:
        pairs = (line.partition(": ") for line in node.auth_headers())
        headers = {"Content-Type": "application/json", **{name: value for name, _, value in pairs}}
        return await self._upstream.fetch(
            node.target, "POST", path, headers=headers, body=json.dumps(body).encode(), timeout=timeout
        )

    def _end(self, job: Warmup, status: WarmupStatus, reason: str = "") -> None:
        job.status, job.reason, job.ended = status, reason, self._fleet.clock.wall()
        fields = {"node": job.node, "model": job.model}
        if status is WarmupStatus.LOADED:
            _log.info("model_loaded", extra={**fields, "seconds": job.seconds})
        elif status is WarmupStatus.FAILED:
            _log.warning("model_not_loaded", extra={**fields, "error": reason})

    def cancel(self, model: str, job_id: str | None = None) -> int:
        """Ends running loads of a model, or one of them; how many."""
        running = [job for job in self.jobs.values() if job.model == model and job.status.running]
        chosen = [job for job in running if job_id is None or job.id == job_id]
        for job in chosen:
            self._cancel(job)
        return len(chosen)

    @staticmethod
    def _cancel(job: Warmup) -> None:
        if job.task is not None and job.status.running:
            job.status = WarmupStatus.CANCELLED
            job.task.cancel()

    async def stop(self) -> None:
        """Ends all."""
        tasks = [job.task for job in self.jobs.values() if job.task is not None and not job.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Out of memory

    async def unload(self, node: FleetNode, model: str) -> str:
        """Takes a model out of a node's memory when the requests that use it are done. Why that failed, or ''."""
        entry = self._fleet.catalogue.entry(model, node.id)
        body = {"model": entry.name if entry is not None else model, "prompt": "", "stream": False, "keep_alive": 0}
        try:
            answer = await self._post(node, "/api/generate", body, UNLOAD_SECONDS)
            if answer.status >= 300:
                return told(answer)
            await self._health.check(node)
        except OrchestratorError as error:
            return error.message
        _log.info("model_unloaded", extra={"node": node.id, "model": model})
        return ""


def _seconds(value: float) -> int | str:
    """A duration as Ollama reads it."""
    return -1 if value < 0 else int(value) if value == int(value) else f"{round(value * 1000)}ms"
