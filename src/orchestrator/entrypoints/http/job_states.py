"""Model jobs as callers watch them: until they have ended, or the service stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing

from orchestrator.domain.errors import OrchestratorError, ShuttingDown
from orchestrator.domain.model_job import ModelJob
from orchestrator.entrypoints.http.service import HttpService

QUIET_SECONDS = 15.0
GOES_ON = "The service stops; the job goes on with its next start."


async def watched(service: HttpService, jobs: Collection[ModelJob]) -> AsyncGenerator[ModelJob | None]:
    """Each state of the jobs until all have ended; None in silence. Raises ShuttingDown, and StorageUnavailable for
    jobs of other processes. Whoever leaves ends nothing but the watching."""
    waiting: asyncio.Queue[ModelJob | OrchestratorError] = asyncio.Queue(maxsize=len(jobs))
    tasks = [asyncio.create_task(_forward(service, job, waiting)) for job in jobs]
    stopping = asyncio.create_task(service.stopping.wait())
    open_jobs = len(tasks)
    try:
        while open_jobs:
            take = asyncio.create_task(waiting.get())
            done, _ = await asyncio.wait((take, stopping), timeout=QUIET_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if take in done:
                state = take.result()
                if isinstance(state, OrchestratorError):
                    raise state
                open_jobs -= state.status.ended
                yield state
                continue
            take.cancel()
            if stopping in done:
                raise ShuttingDown(GOES_ON, details={"jobs": [job.id for job in jobs]})
            yield None
    finally:
        for task in (*tasks, stopping):
            task.cancel()


async def _forward(service: HttpService, job: ModelJob, to: asyncio.Queue[ModelJob | OrchestratorError]) -> None:
    try:
        async with aclosing(service.model_jobs.follow(job.id)) as states:
            async for state in states:
                await to.put(state)
    except OrchestratorError as error:
        await to.put(error)


async def end_of(service: HttpService, jobs: Collection[ModelJob]) -> list[ModelJob]:
    """The jobs when all have ended, in their order. Raises ShuttingDown."""
    found = {job.id: job for job in jobs}
    async with aclosing(watched(service, jobs)) as states:
        async for state in states:
            if state is not None:
                found[state.id] = state
    return list(found.values())
