"""Results that are too large for the ledger become artifacts, for whoever submitted the task."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from admin_api import UNLIMITED

from service import running_service

ROOT_KEY, ONE, OTHER, SEES = (f"sk-{name}-0123456789abcdef" for name in ("root", "one", "other", "sees"))
AUTH = {
    "enabled": True,
    "keys": [
        {"name": "root", "key": ROOT_KEY, "role": "admin"},
        {"name": "one", "key": ONE, "role": "developer"},
        {"name": "other", "key": OTHER, "role": "developer"},
        {"name": "sees", "key": SEES, "role": "viewer"},
    ],
}
BIG = json.dumps({"text": "ä" * 1_500_000}).encode()
V1 = "/api/v1"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def submit(http: httpx2.AsyncClient, **more: Any) -> str:
    answer = await http.post(f"{V1}/tasks", json={"task_type": "noop", "max_retries": 0, **more})
    task_id: str = answer.json()["task_id"]
    return task_id


async def pulled(http: httpx2.AsyncClient) -> dict[str, Any]:
    body = {"host": "127.0.0.1", "mode": "pull"}
    assert (await http.post(f"{V1}/nodes/n/register", json=body)).status_code == 200
    [task] = (await http.post(f"{V1}/nodes/n/tasks/pull", json={"wait": 10})).json()["tasks"]
    found: dict[str, Any] = task
    return found


async def ended(http: httpx2.AsyncClient, task_id: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            task: dict[str, Any] = (await http.get(f"{V1}/tasks/{task_id}")).json()["task"]
            if task["completed_at"] is not None:
                return task
            await asyncio.sleep(0.02)


async def report(http: httpx2.AsyncClient, task: dict[str, Any], result: bytes = BIG, **more: Any) -> httpx2.Response:
    told = {"status": "completed", "attempt": task["attempt"], "node_id": "n", "agent_id": "writer", **more}
    body = json.dumps(told)[:-1].encode() + b', "result_data": ' + result + b"}"
    return await http.post(f"{V1}/tasks/{task['task_id']}/result", content=body)


async def kept(http: httpx2.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await http.get(f"{V1}/artifacts")).json()["artifacts"]
    return found


async def check(http: httpx2.AsyncClient, task: dict[str, Any]) -> None:
    told = task["result"]
    assert told["size_bytes"] == len(BIG)
    assert told["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert (await http.get(told["url"])).content == BIG
    [artifact] = await kept(http)
    assert (artifact["artifact_id"], artifact["task_id"]) == (told["artifact_id"], task["task_id"])
    assert (artifact["mime_type"], artifact["agent_id"]) == ("application/json", "writer")
    assert artifact["expires_at"] > artifact["created_at"] + 29 * 86_400


async def test_of_a_node_that_pulls(tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as run, httpx2.AsyncClient(base_url=run.url, timeout=20) as http:
        task_id = await submit(http)
        task = await pulled(http)
        for _ in range(2):  # the same report again is answered like the first
            answer = await report(http, task)
            assert answer.status_code == 200, answer.text
        await check(http, await ended(http, task_id))


async def test_of_many_reports_at_once(tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as run, httpx2.AsyncClient(base_url=run.url, timeout=20) as http:
        await submit(http)
        task = await pulled(http)
        told = {"status": "completed", "attempt": 1, "task_id": task["task_id"], "agent_id": "writer"}
        body = {
            "results": [told | {"result": json.loads(BIG)}, told | {"task_id": "unknown", "result": "x" * 2_000_000}]
        }
        results = (await http.post(f"{V1}/tasks/results", json=body)).json()["results"]
        assert [one["success"] for one in results] == [True, False]
        found = await ended(http, task["task_id"])
        assert (await http.get(found["result"]["url"])).json() == json.loads(BIG)
        assert len(await kept(http)) == 1


async def test_a_refused_report_leaves_nothing(tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as run, httpx2.AsyncClient(base_url=run.url, timeout=20) as http:
        task_id = await submit(http)
        task = await pulled(http)
        assert (await report(http, task | {"attempt": 7})).status_code == 409
        assert (await http.post(f"{V1}/tasks/{task_id}/cancel")).status_code == 200
        assert (await report(http, task)).status_code == 409
        assert await kept(http) == []
        assert not [one for one in (tmp_path / "data/artifacts").rglob("*") if one.is_file()]


async def test_what_cannot_be_kept_fails_the_task(tmp_path: Path) -> None:
    config = {"artifacts": {"quota": 100}}
    async with running_service(config, tmp_path) as run, httpx2.AsyncClient(base_url=run.url, timeout=20) as http:
        task_id = await submit(http)
        assert (await report(http, await pulled(http))).status_code == 200
        found = await ended(http, task_id)
        assert found["status"] == "failed"
        assert "cannot be kept: 9,000,012 bytes more are over the quota of 100 bytes" in found["error_message"]


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
async def test_of_a_node_that_is_pushed_to(tmp_path: Path, size: int) -> None:
    result = b'"' + b"x" * (size - 2) + b'"'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
        await reader.readexactly(int(length.split(":")[1]))
        body = b'{"status": "completed", "result": ' + result + b"}"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        await writer.drain()
        writer.close()

    node = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with node, running_service({}, tmp_path) as run, httpx2.AsyncClient(base_url=run.url, timeout=20) as http:
        port = node.sockets[0].getsockname()[1]
        body = {"host": "127.0.0.1", "port": port, "mode": "push"}
        assert (await http.post(f"{V1}/nodes/p/register", json=body)).status_code == 200
        found = await ended(http, await submit(http))
        assert found["status"] == "completed", found["error_message"]
        if size <= 1 << 20:
            assert found["result"] == json.loads(result)
            assert await kept(http) == []
        else:
            assert (await http.get(found["result"]["url"])).content == result


async def test_results_are_for_who_submitted_the_task(tmp_path: Path) -> None:
    config = {**UNLIMITED, "auth": AUTH}
    async with running_service(config, tmp_path) as run, httpx2.AsyncClient(base_url=run.url, timeout=20) as http:
        http.headers.update(bearer(ONE))
        task_id = await submit(http)
        assert (await report(http, await pulled(http))).status_code == 200
        url = (await ended(http, task_id))["result"]["url"]
        digest = f"{V1}/artifacts/sha256/{hashlib.sha256(BIG).hexdigest()}"
        for key, path, status in (
            (ONE, url, 200),
            (ONE, digest, 200),
            (OTHER, url, 403),
            (OTHER, digest, 404),
            (SEES, url, 403),
            (ROOT_KEY, url, 200),
        ):
            assert (await http.get(path, headers=bearer(key))).status_code == status, (key, path)
        shared = await http.post(f"{V1}/artifacts", content=b"x", params={"file_name": "x"}, headers=bearer(ONE))
        assert (await http.get(f"{V1}/artifacts/{shared.json()['artifact_id']}/content")).status_code == 200
        for method, path in (
            ("POST", "/artifacts?file_name=x"),
            ("POST", "/artifacts/sweep"),
            ("DELETE", "/artifacts/x"),
        ):
            assert (await http.request(method, V1 + path, headers=bearer(SEES))).status_code == 403
        assert (await http.get(f"{V1}/artifacts", headers=bearer(SEES))).json()["count"] == 2
        session = await http.post(f"{V1}/artifacts/uploads", json={"file_name": "x"})
        path = f"{V1}/artifacts/uploads/{session.json()['upload_id']}"
        assert (await http.get(path, headers=bearer(OTHER))).status_code == 403
        assert (await http.get(path)).status_code == 200
