"""kill -9 of the service while it cleans up: what is listed is whole, and the next clean-up leaves no bytes of anything
else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from service import SpawnedService, spawned_service

V1 = "/api/v1/artifacts"
COUNT = 240
KEPT = {"run_id": "r"}  # neither an orphan nor expiring
CleanUp = Callable[[httpx2.AsyncClient], Awaitable[httpx2.Response]]


def client(service: SpawnedService) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=service.url, timeout=30)


def names(folder: Path) -> set[str]:
    """The ids of the artifacts whose bytes, or a part of them, are on the disk."""
    found = (Path(place) / name for place, _, files in os.walk(folder / "data" / "artifacts") for name in files)
    return {one.name.partition(".")[0] for one in found}


async def filled(http: httpx2.AsyncClient, **fields: str) -> set[str]:
    """Ids of artifacts of which each has other bytes."""

    async def some(numbers: range) -> list[str]:
        answers = [
            await http.post(V1, content=content(number), params={"file_name": str(number), **fields})
            for number in numbers
        ]
        return [answer.json()["artifact_id"] for answer in answers]

    made = await asyncio.gather(*(some(range(begin, COUNT, 8)) for begin in range(8)))
    return {one for part in made for one in part}


def content(number: int) -> bytes:
    return f"{number} ".encode() * 1_000


async def listed(http: httpx2.AsyncClient) -> dict[str, str]:
    """File names by id."""
    rows = (await http.get(V1, params={"limit": 1_000})).json()["artifacts"]
    return {row["artifact_id"]: row["file_name"] for row in rows}


@pytest.mark.parametrize(
    ("fields", "path"),
    [({"expires_in": "1"}, f"{V1}/sweep"), ({}, "/maintenance/cleanup-orphaned-artifacts")],
    ids=["expired", "orphaned"],
)
@pytest.mark.parametrize("gone", [1, COUNT // 2])
async def test_killed_during_a_clean_up(
    database_url: str, tmp_path: Path, fields: dict[str, str], path: str, gone: int
) -> None:
    arguments = ("--database-url", database_url)
    with spawned_service({}, tmp_path, arguments=arguments) as service:
        async with client(service) as http:
            kept = (await http.post(V1, content=b"kept", params={"file_name": "kept", **KEPT})).json()["artifact_id"]
            old = await filled(http, **fields)
            if fields:
                await asyncio.sleep(1.1)  # until they have expired
            cleaning = asyncio.create_task(http.post(path))
            while not cleaning.done() and len(names(tmp_path)) > COUNT + 1 - gone:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0)
            service.kill()
            await asyncio.gather(cleaning, return_exceptions=True)
    with spawned_service({}, tmp_path, arguments=arguments) as service:
        async with client(service) as http:
            for row_id, name in (await listed(http)).items():
                bytes_of = (await http.get(f"{V1}/{row_id}/content")).content
                assert bytes_of == (b"kept" if row_id == kept else content(int(name)))
            assert (await http.post(f"{V1}/sweep", params={"verify_all": True})).json()["damaged"] == []
            assert names(tmp_path) == set(await listed(http))
            assert (await http.post(path)).status_code == 200
            assert set(await listed(http)) == {kept}
            assert names(tmp_path) == {kept}
            assert kept not in old
