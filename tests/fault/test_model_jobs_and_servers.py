"""What becomes of a job when its server goes, is full, or another process has its say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from orchestrator.domain.model_job import JobKind, JobStatus, ModelJob
from orchestrator.services.models.jobs import ModelJobs
from orchestrator.storage import open_storage
from orchestrator.testing.model_server import ModelServer
from service import RunningService, running_service

PULL = "/api/pull"


@asynccontextmanager
async def fleet(tmp_path: Path, **nodes: ModelServer) -> AsyncIterator[tuple[RunningService, ModelJobs]]:
    """The first node has most room. A job leaves a server that is away after half a second."""
    listed: list[dict[str, Any]] = [
        {"id": name, "url": node.url, "labels": {"disk_gb": str(900 - 100 * number)}}
        for number, (name, node) in enumerate(nodes.items())
    ]
    async with running_service({"nodes": listed}, tmp_path) as running:
        await running.healthy(len(nodes))
        jobs = running.service.model_jobs
        jobs.rules = replace(jobs.rules, away=0.5)
        yield running, jobs


async def end(jobs: ModelJobs, job: ModelJob) -> ModelJob:
    async with asyncio.timeout(15):
        return [state async for state in jobs.follow(job.id)][-1]


async def test_a_placed_job_leaves_a_server_that_is_down(tmp_path: Path) -> None:
    b = ModelServer(["x"])
    async with ModelServer(["x"]) as a:
        await b.start()
        async with fleet(tmp_path, b=b, a=a) as (_, jobs):
            b.mode("hang_mid", after=2, path=PULL)
            job = await jobs.start(JobKind.PULL, "new")
            assert job.node == "b"
            await b.wait_for(lambda seen: seen.hanging == 1)
            await b.kill()
            ended = await end(jobs, job)
            assert (ended.status, ended.node) == (JobStatus.SUCCEEDED, "a")


async def test_a_job_for_one_server_waits_for_it(tmp_path: Path) -> None:
    b = ModelServer(["x"])
    async with ModelServer(["x"]) as a:
        await b.start()
        port = int(b.url.rpartition(":")[2])
        async with fleet(tmp_path, b=b, a=a) as (running, jobs):
            b.mode("hang_mid", after=2, path=PULL)
            job = await jobs.start(JobKind.PULL, "new", ["b"])
            await b.wait_for(lambda seen: seen.hanging == 1)
            await b.kill()
            await running.until(lambda: not running.service.fleet.nodes["b"].healthy)
            await asyncio.wait_for(_retrying(jobs, job), 10)
            async with ModelServer(["x"], port=port):
                ended = await end(jobs, job)
        assert (ended.status, ended.node) == (JobStatus.SUCCEEDED, "b")
        assert all(one.path != PULL for one in a.requests)


async def _retrying(jobs: ModelJobs, job: ModelJob) -> None:
    async for state in jobs.follow(job.id):
        if state.error:
            return


async def test_a_job_for_a_server_that_is_removed_fails(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, fleet(tmp_path) as (running, jobs):
        async with httpx2.AsyncClient(base_url=running.url + "/api/orchestrator", timeout=20) as api:
            spec = {"id": "gone", "url": a.url, "type": "ollama"}
            assert (await api.post("/servers/add", json=spec)).status_code == 200
            await running.healthy(1)
            a.mode("cut", after=2, path=PULL)
            job = await jobs.start(JobKind.PULL, "new", ["gone"])
            assert (await api.delete("/servers/gone")).status_code == 200
        ended = await end(jobs, job)
        assert ended.status is JobStatus.FAILED
        assert "removed" in ended.error


async def test_another_process_may_cancel_a_job(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, fleet(tmp_path, a=a) as (_, jobs):
        a.mode("hang_mid", after=2, path=PULL)
        job = await jobs.start(JobKind.PULL, "new")
        await a.wait_for(lambda seen: seen.hanging == 1)
        async with open_storage(f"sqlite:///{tmp_path}/data/orchestrator.db") as storage:
            assert await storage.model_jobs.cancel(job.id)
        assert (await end(jobs, job)).status is JobStatus.CANCELLED
        await a.wait_for(lambda seen: seen.in_flight == 0)


async def test_a_job_that_another_process_took_up_is_left_to_it(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, fleet(tmp_path, a=a) as (running, jobs):
        a.mode("hang_mid", after=2, path=PULL)
        job = await jobs.start(JobKind.PULL, "new")
        await a.wait_for(lambda seen: seen.hanging == 1)
        later = running.service.clock.epoch + 1000
        async with open_storage(f"sqlite:///{tmp_path}/data/orchestrator.db") as storage:
            [taken] = await storage.model_jobs.claim("another", later, later + 1000)
            await a.wait_for(lambda seen: seen.in_flight == 0)  # it is not worked on twice
            done = replace(taken, status=JobStatus.SUCCEEDED, ended_at=later)
            await storage.model_jobs.save(done, "another", later)
        assert (await end(jobs, job)).status is JobStatus.SUCCEEDED
        assert sum(one.path == PULL for one in a.requests) == 1


async def test_strange_words_of_a_node_are_no_obstacle(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, fleet(tmp_path, a=a) as (_, jobs):
        for body in ('{"status": "a\\u0000b\\ud800"}\n', "[]\n", "no json\n", '{"status": 5, "total": -1}\n'):
            a.mode("error_body_200", body=body, path=PULL, times=1)
        ended = await end(jobs, await jobs.start(JobKind.PULL, "new"))
        assert (ended.status, ended.tries) == (JobStatus.SUCCEEDED, 5)


async def test_a_node_that_says_the_same_with_every_try_gets_nowhere(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, fleet(tmp_path, a=a) as (_, jobs):
        a.mode("sse_error_midway", after=2, message="registry timed out", path=PULL)
        jobs.rules = replace(jobs.rules, patience=1.0)
        ended = await end(jobs, await jobs.start(JobKind.PULL, "new"))
        assert (ended.status, ended.error) == (JobStatus.FAILED, "registry timed out")
        assert ended.tries > 1


async def test_a_stop_tells_those_who_wait(tmp_path: Path) -> None:
    async with ModelServer(["x"]) as a, fleet(tmp_path, a=a) as (running, _):
        a.mode("hang_mid", after=2, path=PULL)
        async with httpx2.AsyncClient(base_url=running.url + "/api/orchestrator", timeout=20) as api:

            async def pull(**how: bool) -> httpx2.Response:
                return await api.post("/models/pull", json={"model": "new", **how})

            waiting = asyncio.create_task(pull())
            watching = asyncio.create_task(pull(stream=True))
            await a.wait_for(lambda seen: seen.hanging == 1)
            running.service.stop()
            async with asyncio.timeout(5):
                assert (await waiting).status_code == 503
                assert '{"type": "end", "reason": "shutdown"}' in (await watching).text
                await running.task
        async with open_storage(f"sqlite:///{tmp_path}/data/orchestrator.db") as storage:
            [left] = await storage.model_jobs.claim("next", running.service.clock.epoch, 0.0)
        assert left.status is JobStatus.QUEUED


async def test_only_what_cannot_be_had_is_final(tmp_path: Path) -> None:
    """Ollama's own words."""
    again = ("digest mismatch, file must be downloaded again", "max retries exceeded: unexpected EOF")
    final = ("pull model manifest: file does not exist", "pull model manifest: unauthorized")
    async with ModelServer(["x"]) as a, fleet(tmp_path, a=a) as (_, jobs):
        for message in again:
            a.mode("error_body_200", message=message, path=PULL, times=1)
        ended = await end(jobs, await jobs.start(JobKind.PULL, "new"))
        assert (ended.status, ended.tries) == (JobStatus.SUCCEEDED, 3)
        for message in final:
            a.mode("error_body_200", message=message, path=PULL, times=1)
            ended = await end(jobs, await jobs.start(JobKind.PULL, "new"))
            assert (ended.status, ended.tries, ended.error) == (JobStatus.FAILED, 1, message)
