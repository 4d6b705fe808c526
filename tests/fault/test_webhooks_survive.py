"""A webhook is delivered although the process that was to deliver it is gone."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx2

from orchestrator.domain.task import lifecycle
from orchestrator.storage import open_storage
from service import free_port, running_service, spawned_service
from task_samples import keep, move, queued

WAIT = 20.0
FAST: dict[str, Any] = {"tasks": {"webhook_retry": 0.2}}


class Receiver:
    """Takes everything, from the moment on at which it listens."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.more = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard.append((headers["webhook-id"], json.loads(body)))
        writer.write(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        self.more.set()


async def test_a_process_that_is_killed_before_it_delivers(database_url: str, tmp_path: Path) -> None:
    port, receiver = free_port(), Receiver()
    arguments = ("--database-url", database_url)
    async with httpx2.AsyncClient(timeout=10, trust_env=False) as http:
        with spawned_service(FAST, tmp_path, arguments=arguments) as service:
            api = f"{service.url}/api/v1"
            body = {"task_type": "t", "callback_url": f"http://127.0.0.1:{port}/done"}
            task_id = (await http.post(f"{api}/tasks", json=body)).json()["task_id"]
            assert (await http.post(f"{api}/tasks/{task_id}/cancel", json={})).status_code == 200
            service.kill()
        async with await asyncio.start_server(receiver, "127.0.0.1", port):
            with spawned_service(FAST, tmp_path, arguments=arguments) as service:
                async with asyncio.timeout(60):
                    await receiver.more.wait()
                async with asyncio.timeout(WAIT):
                    while not (await http.get(f"{service.url}/api/v1/webhooks?state=delivered")).json()["count"]:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
    assert [(said["task_id"], said["state"]) for _, said in receiver.heard] == [(task_id, "cancelled")]


async def test_an_end_without_a_delivery_is_found_at_the_start(database_url: str, tmp_path: Path) -> None:
    port, receiver, now = free_port(), Receiver(), time.time()
    task = queued("lost", callback_url=f"http://127.0.0.1:{port}/")
    async with open_storage(database_url) as storage:
        await keep(storage.ledger, task)
        task = await move(storage.ledger, task, lifecycle.assign(task, "n", now))
        task = await move(storage.ledger, task, lifecycle.succeed(task, now, b'{"a":1}'))
    listening = await asyncio.start_server(receiver, "127.0.0.1", port)
    async with listening, running_service({"database": {"url": database_url}}, tmp_path), asyncio.timeout(WAIT):
        await receiver.more.wait()
    assert [(message_id, said["result_data"]) for message_id, said in receiver.heard] == [
        (f"msg_lost.{task.version}", {"a": 1})
    ]
