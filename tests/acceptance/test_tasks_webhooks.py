"""Webhooks to a receiver of the test's own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import RunningService, running_service

SECRET = base64.b64encode(b"a secret of the test").decode()
FAST: dict[str, Any] = {"tasks": {"webhook_retry": 0.05, "webhook_secret": f"whsec_{SECRET}"}}


@dataclass
class Receiver:
    """Answers with these statuses in turn, then with 200."""

    statuses: list[int]
    url: str = ""
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in lines}
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard.append((headers, body))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(
            f"HTTP/1.1 {status} X\r\nLocation: /other\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()
        self.more.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(15):
            while len(self.heard) < count:
                self.more.clear()
                await self.more.wait()


@asynccontextmanager
async def receiving(*statuses: int) -> AsyncIterator[Receiver]:
    receiver = Receiver(list(statuses))
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/done?for=me"
    async with server:
        yield receiver


@asynccontextmanager
async def served(
    tmp_path: Path, config: dict[str, Any] = FAST
) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with running_service(config, tmp_path) as run, httpx2.AsyncClient(base_url=f"{run.url}/api/v1") as http:
        yield run, http


async def finished(http: httpx2.AsyncClient, url: str, result: Any = None, **report: Any) -> str:
    """A task that a node has run; its id."""
    assert (await http.post("/nodes/n/register", json={"mode": "pull"})).status_code == 200
    task_id = (await http.post("/tasks", json={"task_type": "t", "callback_url": url})).json()["task_id"]
    [task] = (await http.post("/nodes/n/tasks/pull", json={"limit": 1, "wait": 10})).json()["tasks"]
    said = {"status": "completed", "result_data": result, "attempt": task["attempt"], "node_id": "n", **report}
    assert (await http.post(f"/tasks/{task_id}/result", json=said)).status_code == 200
    return str(task_id)


async def settled(http: httpx2.AsyncClient, state: str) -> dict[str, Any]:
    """The one delivery, once it has this state."""
    async with asyncio.timeout(15):
        while True:
            found: list[dict[str, Any]] = (await http.get("/webhooks", params={"state": state})).json()["webhooks"]
            if found:
                return found[0]
            await asyncio.sleep(0.02)


async def refused(http: httpx2.AsyncClient) -> str:
    """Why the one pending delivery was not made, once that is known."""
    async with asyncio.timeout(15):
        error = ""
        while not error:
            error = (await settled(http, "pending"))["last_error"] or ""
    return error


async def test_two_failures_then_success_make_one_signed_delivery(tmp_path: Path) -> None:
    async with receiving(500, 500) as receiver, served(tmp_path) as (_, http):
        task_id = await finished(http, receiver.url, {"answer": 42})
        delivery = await settled(http, "delivered")
        assert (delivery["task_id"], delivery["attempts"], delivery["last_status"]) == (task_id, 3, 200)
        assert len(receiver.heard) == 3
        assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 1
        assert len({body for _, body in receiver.heard}) == 1
        headers, body = receiver.heard[-1]
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = hmac.new(base64.b64decode(SECRET), signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 20
        said = httpx2.Response(200, content=body).json()
        assert (said["task_id"], said["status"], said["state"]) == (task_id, "completed", "completed")
        assert (said["result_data"], said["error_message"], said["node_id"]) == ({"answer": 42}, None, "n")
        assert (said["attempt"], said["execution_time"] >= 0, said["timestamp"] > 1e9) == (1, True, True)


async def test_a_failed_task_is_told_too_and_a_redirect_is_no_delivery(tmp_path: Path) -> None:
    async with receiving(302) as receiver, served(tmp_path, {"tasks": {"webhook_retry": 0.05}}) as (_, http):
        await finished(http, receiver.url, status="failed", error_message="no", retryable=False)
        assert (await settled(http, "delivered"))["attempts"] == 2
        headers, body = receiver.heard[-1]
        assert "webhook-signature" not in headers
        said = httpx2.Response(200, content=body).json()
        assert (said["state"], said["error_message"], said["result_data"]) == ("failed", "no", None)


async def test_gone_ends_it_and_a_person_can_begin_it_anew(tmp_path: Path) -> None:
    async with receiving(410) as receiver, served(tmp_path) as (_, http):
        await finished(http, receiver.url)
        failed = await settled(http, "failed")
        assert (failed["attempts"], failed["last_error"]) == (1, "status 410")
        again = await http.post(f"/webhooks/{failed['webhook_id']}/replay")
        assert again.json()["webhook"]["state"] == "pending"
        await settled(http, "delivered")
        assert [headers["webhook-id"] for headers, _ in receiver.heard] == [f"msg_{failed['webhook_id']}"] * 2
        assert (await http.post("/webhooks/nobody/replay")).status_code == 404
        assert (await http.get("/webhooks", params={"task_id": "nobody"})).json()["webhooks"] == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "tasks.webhook_hosts"),
        ("http://[::ffff:169.254.169.254]/", "tasks.webhook_hosts"),
        ("http://[fd00:ec2::254]/", "tasks.webhook_hosts"),
        ("http://0.0.0.0:1/", "tasks.webhook_hosts"),
        ("http://2852039166/", "tasks.webhook_hosts"),  # 169.254.169.254
    ],
)
async def test_metadata_services_are_never_called(tmp_path: Path, url: str, reason: str) -> None:
    async with served(tmp_path) as (_, http):
        await finished(http, url)
        assert reason in await refused(http)


@pytest.mark.parametrize(
    "url",
    [
        "http://[/",
        "http://[::1/",
        "http:///x",
        "http://a:b/",
        "http://127.0.0.1:99999/",
        "http://user:pass@127.0.0.1/",
        f"http://{chr(252) * 100}/",
        "HTTP:/a",
        "http://a/\n",
    ],
)
async def test_a_url_that_cannot_be_called_is_refused_with_its_task(tmp_path: Path, url: str) -> None:
    task = {"task_type": "t", "callback_url": url}
    async with served(tmp_path) as (_, http):
        answer = await http.post("/tasks", json=task)
        many = await http.post("/tasks/batch", json={"tasks": [task, {"task_type": "t"}]})
        counts = (await http.get("/tasks")).json()["summary"]
    assert (answer.status_code, answer.json()["details"].get("field")) == (400, "callback_url")
    assert "pass" not in answer.text
    assert [one["success"] for one in many.json()["results"]] == [False, True]
    assert counts["pending_count"] == 1


async def test_an_operator_names_the_only_hosts(tmp_path: Path) -> None:
    async with receiving() as receiver, served(tmp_path, {"tasks": {"webhook_hosts": ["*.example.com"]}}) as (_, http):
        await finished(http, receiver.url)
        assert "tasks.webhook_hosts" in await refused(http)
        assert receiver.heard == []
