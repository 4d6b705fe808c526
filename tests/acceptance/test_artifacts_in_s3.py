"""Artifacts whose bytes are in an object store, over S3's protocol: through the API, and what a clean-up leaves."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from s3_stub import BUCKET, SECRET, S3Stub, s3_stub
from service import RunningService, running_service

V1 = "/api/v1/artifacts"
LARGE = bytes(range(256)) * 4_096 * 12  # 12 MiB: goes in parts
STRANGERS = {"kept/data/a": b"beside", "kept/artifacts-not-ours/b": b"another", "top": b"top"}
PREFIX = "kept/artifacts"


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Stub]:
    """It is empty but for the objects of others."""
    async with s3_stub() as stub:
        stub.objects |= STRANGERS
        for name, value in stub.environment().items():
            monkeypatch.setenv(name, value)
        yield stub


@asynccontextmanager
async def served(
    tmp_path: Path, url: str = f"s3://{BUCKET}/{PREFIX}"
) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with (
        running_service({"artifacts": {"url": url}}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=60, trust_env=False) as http,
    ):
        yield running, http


async def kept(http: httpx2.AsyncClient, content: bytes, name: str) -> str:
    answer = await http.post(V1, content=content, params={"file_name": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["artifact_id"])


def ours(store: S3Stub) -> dict[str, bytes]:
    """Objects below the prefix, by what follows it."""
    start = f"{PREFIX}/"
    return {key.removeprefix(start): content for key, content in store.objects.items() if key.startswith(start)}


@pytest.mark.parametrize("content", [b"small", b"", LARGE], ids=["small", "empty", "large"])
async def test_bytes_come_back_whole_and_in_part(store: S3Stub, tmp_path: Path, content: bytes) -> None:
    async with served(tmp_path) as (_, http):
        made = await kept(http, content, "a.bin")
        assert list(ours(store).values()) == [content]
        assert (store.uploads > 0) == (content is LARGE)
        whole = await http.get(f"{V1}/{made}/content")
        assert (whole.content, whole.headers["etag"]) == (content, f'"{hashlib.sha256(content).hexdigest()}"')
        if content:
            part = await http.get(f"{V1}/{made}/content", headers={"Range": f"bytes={len(content) - 3}-"})
            assert (part.status_code, part.content) == (206, content[-3:])
        assert (await http.delete(f"{V1}/{made}")).status_code == 200
        assert ours(store) == {}
        assert store.objects == STRANGERS
        assert store.unsigned == 0


async def test_a_clean_up_leaves_what_is_listed_and_what_is_of_others(store: S3Stub, tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        made = {await kept(http, str(number).encode() * 9, str(number)) for number in range(8)}
        swept = (await http.post(f"{V1}/sweep", params={"verify_all": True})).json()
        assert (swept["orphans"], swept["damaged"], swept["verified"]) == (0, [], 8)
        assert len(ours(store)) == 8
        orphan = "00000001-0000-4000-8000-000000000000"
        [some] = [key for key in store.objects if key.endswith(next(iter(made)))]
        store.objects[some.replace(next(iter(made)), orphan)] = b"nobody's"
        assert (await http.post(f"{V1}/sweep")).json()["orphans"] == 1
        assert len(ours(store)) == 8
        assert store.objects.items() >= STRANGERS.items()
    async with served(tmp_path) as (_, http):  # the clean-up of the next start
        assert len(ours(store)) == 8
        for artifact_id in made:
            assert (await http.get(f"{V1}/{artifact_id}/content")).status_code == 200


async def test_a_changed_byte_and_a_lost_object_are_found(store: S3Stub, tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        changed, lost = await kept(http, b"one", "1"), await kept(http, b"two", "2")
        for key in list(store.objects):
            if key.endswith(changed):
                store.objects[key] = b"onE"
            elif key.endswith(lost):
                del store.objects[key]
        assert sorted((await http.post(f"{V1}/sweep?verify_all=true")).json()["damaged"]) == sorted((changed, lost))
        states = {row["artifact_id"]: row["state"] for row in (await http.get(V1)).json()["artifacts"]}
        assert states == {changed: "damaged", lost: "missing"}
        assert (await http.get(f"{V1}/{lost}/content")).status_code == 409


async def test_a_store_that_refuses_takes_nothing(store: S3Stub, tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        made = await kept(http, b"before", "a")
        store.closed = True
        refused = await http.post(V1, content=b"x", params={"file_name": "b"})
        assert refused.status_code == 503
        assert not any(told in refused.text for told in (SECRET, BUCKET, PREFIX, "127.0.0.1"))
        assert [row["artifact_id"] for row in (await http.get(V1)).json()["artifacts"]] == [made]
        store.closed = False
        assert (await http.get(f"{V1}/{made}/content")).content == b"before"
        await http.post(f"{V1}/sweep")
        assert len(ours(store)) == 1


async def test_a_bucket_that_is_not_there_is_no_missing_artifact(store: S3Stub, tmp_path: Path) -> None:
    async with served(tmp_path, "s3://another-bucket/a") as (_, http):
        refused = await http.post(V1, content=b"x", params={"file_name": "b"})
        assert refused.status_code == 503
        assert "another-bucket" not in refused.text
        assert (await http.get(V1)).json()["artifacts"] == []
