"""kill -9 of the service while bytes come in: nothing half is listed, nothing is left over after the next clean-up, and
what may go on goes on."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from service import SpawnedService, spawned_service

V1 = "/api/v1/artifacts"
PIECE = bytes(range(256)) * 4_096  # 1 MiB


def files(folder: Path) -> list[Path]:
    return [one for one in (folder / "data/artifacts").rglob("*") if one.is_file()]


def client(service: SpawnedService) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=service.url, timeout=30, trust_env=False)


def half_sent(url: str, head: str) -> socket.socket:
    """A request whose body ends in its middle."""
    host, port = url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)))
    sock.sendall(f"{head} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {1 << 30}\r\n".encode())
    return sock


@pytest.mark.parametrize("moment", [0, 1, 20])
async def test_killed_during_an_upload(database_url: str, tmp_path: Path, moment: int) -> None:
    arguments = ("--database-url", database_url)
    with spawned_service({}, tmp_path, arguments=arguments) as service:
        async with client(service) as http:
            whole = await http.post(V1, content=PIECE, params={"file_name": "whole"})
            sock = half_sent(service.url, f"POST {V1}?file_name=half")
            sock.sendall(b"\r\n")
            await asyncio.to_thread(_send, sock, moment)
            async with asyncio.timeout(10):
                while sum(one.stat().st_size for one in files(tmp_path)) < max(moment, 1) * len(PIECE):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.01)
        service.kill()
        sock.close()
    await _checked_after_restart(database_url, tmp_path, whole.json()["artifact_id"])


def _send(sock: socket.socket, pieces: int) -> None:
    for _ in range(pieces):
        sock.sendall(PIECE)


async def _checked_after_restart(database_url: str, tmp_path: Path, whole: str) -> None:
    """On PostgreSQL another replica could still be at it: there the lease has to be over first."""
    arguments = ("--database-url", database_url)
    with spawned_service({}, tmp_path, arguments=arguments) as service:
        async with client(service) as http:
            if database_url.startswith("postgres"):
                await _expire(database_url)
            await http.post(f"{V1}/sweep")
            listed = (await http.get(V1)).json()["artifacts"]
            assert [one["artifact_id"] for one in listed] == [whole]
            assert (await http.get(f"{V1}/{whole}/content")).content == PIECE
            assert [one.name for one in files(tmp_path)] == [whole]


async def _expire(database_url: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("UPDATE artifact_uploads SET touched_at = touched_at - 1000")
    finally:
        await connection.close()


async def test_killed_between_two_bytes_of_a_resumable_upload(database_url: str, tmp_path: Path) -> None:
    arguments = ("--database-url", database_url)
    data = PIECE * 5
    with spawned_service({}, tmp_path, arguments=arguments) as service:
        async with client(service) as http:
            begun = (await http.post(f"{V1}/uploads", json={"file_name": "x", "size_bytes": len(data)})).json()
            path = f"{V1}/uploads/{begun['upload_id']}"
            await http.patch(path, content=data[: len(PIECE)], headers={"Upload-Offset": "0"})
            sock = half_sent(service.url, f"PATCH {path}")
            sock.sendall(f"Upload-Offset: {len(PIECE)}\r\n\r\n".encode())
            await asyncio.to_thread(_send, sock, 2)
        service.kill()
        sock.close()
    with spawned_service({}, tmp_path, arguments=arguments) as service:
        async with client(service) as http:
            await http.post(f"{V1}/sweep")
            offset = (await http.get(path)).json()["upload"]["offset"]
            assert offset == len(PIECE)
            rest = await http.patch(path, content=data[offset:], headers={"Upload-Offset": str(offset)})
            assert rest.status_code == 200
            done = await http.post(f"{path}/complete", json={"sha256": hashlib.sha256(data).hexdigest()})
            assert done.status_code == 201, done.text
            assert (await http.get(f"{V1}/{begun['upload_id']}/content")).content == data


async def test_killed_under_load(database_url: str, tmp_path: Path) -> None:
    """At any moment: what was answered is there, what was not is there whole or not at all."""
    arguments = ("--database-url", database_url)
    answered: dict[str, str] = {}

    async def pieces(number: int) -> AsyncIterator[bytes]:
        for _ in range(3):
            yield PIECE + str(number).encode()

    async def load(http: httpx2.AsyncClient, begin: int) -> None:
        for number in range(begin, begin + 200):
            try:
                answer = await http.post(V1, content=pieces(number), params={"file_name": str(number)})
            except httpx2.HTTPError:
                return
            answered[answer.json()["artifact_id"]] = answer.json()["artifact"]["sha256"]

    with spawned_service({}, tmp_path, arguments=arguments) as service:
        async with client(service) as http:
            loads = [asyncio.create_task(load(http, begin)) for begin in (0, 1_000, 2_000)]
            async with asyncio.timeout(30):
                while len(answered) < 12:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.005)
            service.kill()
            await asyncio.gather(*loads)
    with spawned_service({}, tmp_path, arguments=arguments) as service:
        async with client(service) as http:
            if database_url.startswith("postgres"):
                await _expire(database_url)
            swept = (await http.post(f"{V1}/sweep", params={"verify_all": True})).json()
            assert swept["damaged"] == []
            listed = {one["artifact_id"]: one["sha256"] for one in (await http.get(V1)).json()["artifacts"]}
            assert listed.items() >= answered.items()
            assert sorted(one.name for one in files(tmp_path)) == sorted(listed)
