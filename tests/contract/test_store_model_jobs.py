from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.model_job import JobKind, JobStatus, ModelJob, Progress
from orchestrator.ports.model_jobs import Hold, JobQuery
from orchestrator.ports.store import Storage

T = 1_763_690_000.5
JOB = ModelJob(
    "j1",
    JobKind.PULL,
    "llama3",
    T,
    node="a",
    candidates=("a", "b"),
    request={"insecure": True, "files": {"x": "sha256:0"}},
    who="admin",
    status=JobStatus.RUNNING,
    progress=Progress("pulling 0 🚚", "sha256:0", 3 * 10**12, 2**62 - 1),
    error="it broke",
    started_at=T + 1.25,
    tries=2,
)
BARE = ModelJob("j2", JobKind.CREATE, "mine", T + 1)
DONE = replace(BARE, id="j3", status=JobStatus.SUCCEEDED, created_at=T + 2, ended_at=T + 3, node="b")
ALL = JobQuery()


async def _ids(storage: Storage, query: JobQuery, limit: int = 10, offset: int = 0) -> tuple[list[str], int]:
    jobs, total = await storage.model_jobs.list(query, limit, offset)
    return [job.id for job in jobs], total


async def test_every_field_comes_back(storage: Storage) -> None:
    assert await storage.model_jobs.get("j1") is None
    assert await storage.model_jobs.list(ALL, 10) == ((), 0)
    for job in (JOB, BARE, DONE):
        await storage.model_jobs.add(job, "p", T)
        assert await storage.model_jobs.get(job.id) == job
    assert await storage.model_jobs.list(ALL, 10) == ((DONE, BARE, JOB), 3)


async def test_an_id_is_used_once(storage: Storage) -> None:
    await storage.model_jobs.add(JOB, "p", T)
    with pytest.raises(Conflict):
        await storage.model_jobs.add(replace(BARE, id="j1"), "q", T + 9)
    assert await storage.model_jobs.get("j1") == JOB


async def test_save_writes_the_whole_state(storage: Storage) -> None:
    await storage.model_jobs.add(BARE, "p", T)
    later = replace(JOB, id="j2", created_at=BARE.created_at)
    assert await storage.model_jobs.save(later, "p", T + 6) is Hold.HELD
    assert await storage.model_jobs.get("j2") == later


async def test_only_the_owner_of_a_job_writes(storage: Storage) -> None:
    await storage.model_jobs.add(JOB, "p", T)
    assert await storage.model_jobs.save(replace(JOB, tries=9), "q", T) is Hold.LOST
    assert await storage.model_jobs.save(replace(JOB, id="none"), "p", T) is Hold.LOST
    assert await storage.model_jobs.get("j1") == JOB
    await storage.model_jobs.claim("q", T, T + 6)
    assert await storage.model_jobs.save(replace(JOB, tries=9), "p", T) is Hold.LOST
    assert await storage.model_jobs.save(replace(JOB, tries=3), "q", T) is Hold.HELD


async def test_what_has_ended_stays_as_it_is(storage: Storage) -> None:
    await storage.model_jobs.add(JOB, "p", T)
    ended = replace(JOB, status=JobStatus.FAILED, ended_at=T + 5)
    assert await storage.model_jobs.save(ended, "p", T) is Hold.HELD
    assert await storage.model_jobs.save(JOB, "p", T) is Hold.LOST
    assert await storage.model_jobs.cancel("j1") is False
    assert await storage.model_jobs.claim("q", T + 100, T + 200) == ()
    assert await storage.model_jobs.get("j1") == ended


async def test_claim_takes_what_nobody_holds_any_more_oldest_first(storage: Storage) -> None:
    await storage.model_jobs.add(BARE, "p", T + 6)
    await storage.model_jobs.add(JOB, "p", T + 6)
    await storage.model_jobs.add(replace(JOB, id="held"), "p", T + 7)
    assert await storage.model_jobs.claim("q", T + 5.9, T + 12) == ()
    assert await storage.model_jobs.claim("q", T + 6, T + 12) == (JOB, BARE)
    assert await storage.model_jobs.claim("r", T + 6, T + 12) == ()
    assert [job.id for job in await storage.model_jobs.claim("r", T + 12, T + 18)] == ["held", "j1", "j2"]


async def test_a_hold_is_prolonged_and_let_go(storage: Storage) -> None:
    await storage.model_jobs.add(JOB, "p", T)
    await storage.model_jobs.save(JOB, "p", T + 6)
    assert await storage.model_jobs.claim("q", T + 5, T + 11) == ()
    await storage.model_jobs.save(JOB, "p", 0.0)
    assert await storage.model_jobs.claim("q", T, T + 6) == (JOB,)


async def test_the_runner_learns_that_it_is_to_end_whoever_it_is(storage: Storage) -> None:
    await storage.model_jobs.add(JOB, "p", T)
    assert await storage.model_jobs.cancel("none") is False
    assert await storage.model_jobs.cancel("no\0ne") is False
    assert await storage.model_jobs.cancel("j1") is True
    assert await storage.model_jobs.save(JOB, "p", T) is Hold.CANCELLING
    await storage.model_jobs.claim("q", T, T + 6)
    assert await storage.model_jobs.save(JOB, "q", T + 6) is Hold.CANCELLING


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (JobQuery(frozenset({JobStatus.RUNNING})), ["j1"]),
        (JobQuery(frozenset({JobStatus.RUNNING, JobStatus.SUCCEEDED})), ["j3", "j1"]),
        (JobQuery(kind=JobKind.CREATE), ["j3", "j2"]),
        (JobQuery(node="b"), ["j3"]),
        (JobQuery(model="llama3"), ["j1"]),
        (JobQuery(frozenset({JobStatus.QUEUED}), JobKind.CREATE, "", "mine"), ["j2"]),
        (JobQuery(node="nowhere"), []),
        (JobQuery(model="a\0"), []),
    ],
)
async def test_filters_hold_together(storage: Storage, query: JobQuery, found: list[str]) -> None:
    for job in (JOB, BARE, DONE):
        await storage.model_jobs.add(job, "p", T)
    assert await _ids(storage, query) == (found, len(found))


async def test_pages_are_whole_and_in_order(storage: Storage) -> None:
    for number in range(7):  # two of each time: the id decides
        await storage.model_jobs.add(replace(BARE, id=f"n{number}", created_at=T + number // 2), "p", T)
    whole, total = await _ids(storage, ALL)
    assert (whole, total) == (["n6", "n4", "n5", "n2", "n3", "n0", "n1"], 7)
    assert await _ids(storage, ALL, 3, 3) == (whole[3:6], 7)
    assert await _ids(storage, ALL, 3, 9) == ([], 7)


async def test_prune_forgets_what_ended_before(storage: Storage) -> None:
    for job in (JOB, BARE, DONE, replace(DONE, id="j4", ended_at=T + 50)):
        await storage.model_jobs.add(job, "p", T)
    assert await storage.model_jobs.prune(T + 3) == 0
    assert await storage.model_jobs.prune(T + 49) == 1
    assert set((await _ids(storage, ALL))[0]) == {"j1", "j2", "j4"}
    assert await storage.model_jobs.get("j3") is None


@pytest.mark.parametrize(
    "job", [replace(JOB, error="\0"), replace(JOB, request={"x": float("nan")}), replace(JOB, node="n" * 513)]
)
async def test_what_no_database_can_hold_is_refused(storage: Storage, job: ModelJob) -> None:
    with pytest.raises(InvalidRequest):
        await storage.model_jobs.add(job, "p", T)
    await storage.model_jobs.add(JOB, "p", T)
    with pytest.raises(InvalidRequest):
        await storage.model_jobs.save(job, "p", T)
    assert await storage.model_jobs.get("j1") == JOB
