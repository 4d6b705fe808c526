from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import product
from uuid import UUID

import pytest

from orchestrator.adapters.sql.artifacts import SqlArtifacts
from orchestrator.adapters.sql.database import open_database
from orchestrator.adapters.sql.location import locate
from orchestrator.domain.artifact import Artifact, ArtifactState, Origin, Quota, Upload, Usage, stored
from orchestrator.domain.errors import Conflict, InvalidRequest, QuotaExceeded
from orchestrator.domain.tool import Tool
from orchestrator.ports.artifacts import ArtifactOrder, ArtifactQuery
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage

DIGEST = "ab" * 32
NO_LIMIT = Quota()


def name(number: int) -> str:
    return str(UUID(int=number))


def external(number: int, size: int = 5, at: float = 0.0, origin: Origin | None = None) -> Artifact:
    return Artifact(name(number), f"f{number}.txt", "text/plain", f"s3://b/{number}", size, at, origin or Origin())


def coming(number: int, size: int | None = None, principal: str = "", *, resumable: bool = False) -> Upload:
    origin = Origin(principal=principal)
    return Upload(name(number), "größe 'x'", "image/png", 1.0, 2.0, origin, size, resumable=resumable)


async def keep(storage: Storage, upload: Upload, size: int, quota: Quota = NO_LIMIT) -> Artifact:
    await storage.uploads.begin(upload, quota)
    artifact = stored(upload, size, DIGEST, 10.0 + UUID(upload.id).int)
    assert await storage.uploads.finish(artifact, quota)
    return artifact


async def a_tool(storage: Storage, number: int = 77) -> str:
    await storage.tools.add(Tool(name(number), f"tool{number}", "ANALYSIS"))
    return name(number)


async def test_every_field_comes_back(storage: Storage) -> None:
    origin = Origin(await a_tool(storage), "t'1", "run", "agent", "config:größe", (name(3), name(4)))
    artifact = Artifact(
        *(name(1), "größe?.bin", "a/b; c=d", "s3://x/'); --", 2**62, 1.25, origin),
        *(ArtifactState.DAMAGED, DIGEST, 3.5, 4.5),
    )
    await storage.artifacts.add(artifact)
    assert await storage.artifacts.get(artifact.id) == artifact
    upload = Upload(name(2), "n", "a/b", 1.5, 2.5, origin, 2**40, DIGEST, 9.5, 2**33, True)
    await storage.uploads.begin(upload, NO_LIMIT)
    assert await storage.uploads.get(upload.id) == upload
    for missing in (name(9), "", "\0", "x" * 9_000, upload.id.upper()):
        assert await storage.artifacts.get(missing) is None
    assert await storage.uploads.get(name(1)) is None
    with pytest.raises(Conflict):
        await storage.artifacts.add(artifact)


async def test_found_by_where_they_come_from(storage: Storage) -> None:
    tool = await a_tool(storage)
    origins = [Origin(tool), Origin(task="t"), Origin(run="r"), Origin(principal="p"), Origin(inputs=(name(1),))]
    made = [external(n, size=n * 10, at=float(n), origin=origin) for n, origin in enumerate(origins, 1)]
    for artifact in made:
        await storage.artifacts.add(artifact)
    one, two, three, four, five = made
    for query, expected in (
        (ArtifactQuery(), (five, four, three, two, one)),
        (ArtifactQuery(order=ArtifactOrder.OLDEST), (one, two, three, four, five)),
        (ArtifactQuery(order=ArtifactOrder.LARGEST, larger=20), (five, four, three)),
        (ArtifactQuery(order=ArtifactOrder.OLDEST, limit=2, offset=1), (two, three)),
        (ArtifactQuery(offset=5), ()),
        (ArtifactQuery(tool=tool), (one,)),
        (ArtifactQuery(task="t"), (two,)),
        (ArtifactQuery(run="r"), (three,)),
        (ArtifactQuery(principal="p"), (four,)),
        (ArtifactQuery(input=one.id), (five,)),
        (ArtifactQuery(file_name="f3.txt"), (three,)),
        (ArtifactQuery(mime_type="text/html"), ()),
        (ArtifactQuery(ids=(one.id, two.id, name(99))), (two, one)),
        (ArtifactQuery(state=ArtifactState.STORED), ()),
        (ArtifactQuery(tool="nonsense"), ()),
        (ArtifactQuery(task="\0"), ()),
    ):
        assert await storage.artifacts.page(query) == expected, query


async def test_pages_near_the_end_are_read_from_there(empty_database_url: str) -> None:
    async with open_storage(empty_database_url) as storage:
        tool = await a_tool(storage)
        made = [external(n, size=n, at=float(n), origin=Origin(tool if n % 2 else None)) for n in range(9)]
        for artifact in made:
            await storage.artifacts.add(artifact)
    async with open_database(locate(empty_database_url)) as database:
        artifacts = SqlArtifacts(database, deep=3)
        for larger, first in ((None, 0), (1, 2), (-1, 0), (6, 7), (99, 9)):
            fitting = made[first:][::-1]
            for offset, limit in product(range(11), (1, 4)):
                query = ArtifactQuery(larger=larger, order=ArtifactOrder.LARGEST, limit=limit, offset=offset)
                assert await artifacts.page(query) == tuple(fitting[offset : offset + limit]), query


async def test_what_a_deleted_tool_made_stays(storage: Storage) -> None:
    tool = await a_tool(storage)
    await storage.artifacts.add(external(1, origin=Origin(tool)))
    with pytest.raises(InvalidRequest, match="no such tool"):
        await storage.artifacts.add(external(2, origin=Origin(name(78))))
    with pytest.raises(InvalidRequest, match="no such tool"):
        await storage.uploads.begin(replace(coming(2), origin=Origin(name(78))), NO_LIMIT)
    upload = replace(coming(3), origin=Origin(tool))
    await storage.uploads.begin(upload, NO_LIMIT)
    assert await storage.tools.delete(tool)
    assert await storage.artifacts.get(name(1)) == external(1)
    assert await storage.uploads.finish(stored(upload, 5, DIGEST, 6.0), NO_LIMIT)
    found = await storage.artifacts.get(name(3))
    assert found is not None
    assert found.origin.tool is None


async def test_an_upload_becomes_an_artifact_in_one_step(storage: Storage) -> None:
    upload = coming(1, 50)
    await storage.uploads.begin(upload, NO_LIMIT)
    with pytest.raises(Conflict):
        await storage.uploads.begin(upload, NO_LIMIT)
    assert await storage.artifacts.page(ArtifactQuery()) == ()
    assert await storage.artifacts.known([upload.id, name(2), "nonsense"]) == {upload.id}
    assert not await storage.uploads.advance(upload.id, 7, 20, 3.0)
    assert await storage.uploads.advance(upload.id, 0, 20, 3.0)
    assert await storage.uploads.get(upload.id) == replace(upload, offset=20, touched_at=3.0)
    artifact = stored(upload, 50, DIGEST, 4.0)
    assert await storage.uploads.finish(artifact, NO_LIMIT)
    assert not await storage.uploads.finish(artifact, NO_LIMIT)
    assert await storage.uploads.get(upload.id) is None
    assert await storage.artifacts.get(upload.id) == artifact
    assert await storage.artifacts.page(ArtifactQuery(sha256=DIGEST)) == (artifact,)
    assert await storage.artifacts.known([upload.id]) == {upload.id}
    with pytest.raises(Conflict):
        await storage.uploads.begin(upload, NO_LIMIT)


async def test_pointers_to_elsewhere_have_no_bytes_here(storage: Storage) -> None:
    await storage.artifacts.add(external(1))
    assert await storage.artifacts.known([name(1)]) == frozenset()
    assert await storage.artifacts.usage() == Usage()
    assert not await storage.artifacts.mark(name(1), ArtifactState.DAMAGED, 1.0)
    assert await storage.artifacts.page(ArtifactQuery(verified=1e10)) == ()


async def test_a_look_at_the_bytes_is_written_down(storage: Storage) -> None:
    one, two = await keep(storage, coming(1), 5), await keep(storage, coming(2), 5)
    look = ArtifactQuery(verified=1e6, order=ArtifactOrder.UNVERIFIED)
    assert await storage.artifacts.page(look) == (one, two)
    assert await storage.artifacts.mark(one.id, ArtifactState.DAMAGED, 50.0)
    assert await storage.artifacts.page(look) == (two, replace(one, state=ArtifactState.DAMAGED, verified_at=50.0))
    assert await storage.artifacts.page(replace(look, verified=50.0)) == (two,)
    assert not await storage.artifacts.mark(name(9), ArtifactState.STORED, 1.0)


async def test_quotas_count_what_is_kept_and_what_is_coming(storage: Storage) -> None:
    quota = Quota(principal=100, whole=150)
    await keep(storage, coming(1, 60, "a"), 60, quota)
    await storage.uploads.begin(coming(2, 40, "a"), quota)
    with pytest.raises(QuotaExceeded) as raised:
        await storage.uploads.begin(coming(3, 1, "a"), quota)
    assert raised.value.details == {"quota_bytes": 100, "used_bytes": 100, "wanted_bytes": 1}
    with pytest.raises(QuotaExceeded, match="all artifacts"):
        await storage.uploads.begin(coming(3, 51, "b"), quota)
    unknown = coming(3, None, "b")
    await storage.uploads.begin(unknown, quota)
    with pytest.raises(QuotaExceeded):
        await storage.uploads.finish(stored(unknown, 51, DIGEST, 1.0), quota)
    assert await storage.uploads.get(unknown.id) == unknown
    assert await storage.uploads.finish(stored(unknown, 50, DIGEST, 1.0), quota)
    assert await storage.artifacts.usage() == Usage(2, 110)
    assert await storage.artifacts.usage("a") == Usage(1, 60)
    assert await storage.artifacts.usage("\0") == Usage()


async def test_a_quota_holds_for_uploads_at_once(storage_url: str) -> None:
    async with open_storage(storage_url) as storage:
        quota = Quota(whole=50)
        found = await asyncio.gather(
            *(storage.uploads.begin(coming(n, 10), quota) for n in range(20)), return_exceptions=True
        )
        assert [type(one) for one in found if one is not None] == [QuotaExceeded] * 15


async def test_what_is_old_is_found_and_deleted(storage: Storage) -> None:
    await storage.artifacts.add(replace(external(1), expires_at=5.0))
    await storage.artifacts.add(replace(external(2, origin=Origin(inputs=(name(1),))), expires_at=50.0))
    await storage.artifacts.add(external(3))
    assert [one.id for one in await storage.artifacts.page(ArtifactQuery(expired=6.0))] == [name(1)]
    expiring = await storage.artifacts.page(ArtifactQuery(order=ArtifactOrder.EXPIRING))
    assert [one.id for one in expiring] == [name(1), name(2)]
    assert await storage.artifacts.delete([name(1), name(2), name(9), "nonsense"]) == 2
    assert await storage.artifacts.page(ArtifactQuery(input=name(1))) == ()
    assert [one.id for one in await storage.artifacts.page(ArtifactQuery())] == [name(3)]


async def test_uploads_that_were_given_up(storage: Storage) -> None:
    single, resumable = coming(1), coming(2, resumable=True)
    await storage.uploads.begin(single, NO_LIMIT)
    await storage.uploads.begin(resumable, NO_LIMIT)
    assert await storage.uploads.stale(2.0, 2.0, 10) == ()
    assert await storage.uploads.stale(3.0, 2.0, 10) == (single,)
    assert await storage.uploads.stale(2.0, 3.0, 10) == (resumable,)
    assert await storage.uploads.stale(3.0, 3.0, 1) == (single,)
    assert await storage.uploads.drop([single.id, name(9)]) == 1
    assert await storage.uploads.get(single.id) is None
    assert not await storage.uploads.advance(single.id, 0, 1, 1.0)


@pytest.mark.parametrize(
    "bad",
    [
        replace(external(1), size=-1),
        replace(external(1), size=2**63),
        replace(external(1), file_name=""),
        replace(external(1), file_name="x" * 256),
        replace(external(1), file_name="a\nb"),
        replace(external(1), mime_type="text"),
        replace(external(1), pointer="\0"),
        replace(external(1), created_at=float("nan")),
        replace(external(1), origin=Origin(task="\ud800")),
        replace(external(1), origin=Origin(tool="nonsense")),
        replace(external(1), origin=Origin(inputs=("nonsense",))),
        replace(external(1), origin=Origin(inputs=(name(1), name(1)))),
    ],
)
async def test_what_no_database_can_hold_is_refused(storage: Storage, bad: Artifact) -> None:
    with pytest.raises(InvalidRequest):
        await storage.artifacts.add(bad)
    assert await storage.artifacts.page(ArtifactQuery()) == ()
