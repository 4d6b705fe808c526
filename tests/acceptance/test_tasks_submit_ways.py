"""The calls that every task makes have two ways, past ASGI and as a route (which any query in the URL takes): both say
the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from admin_api import UNLIMITED

from service import running_service

ROOT_KEY = "sk-root-0123456789abcdef"
VIEWER_KEY = "sk-view-0123456789abcdef"
AUTH = {
    "enabled": True,
    "keys": [
        {"name": "root", "key": ROOT_KEY, "role": "admin"},
        {"name": "view", "key": VIEWER_KEY, "role": "viewer"},
    ],
}
GOOD = b'{"task_type": "work", "task_id": "mine"}'
VIEWER = {"Authorization": f"Bearer {VIEWER_KEY}"}
STRANGER = {"Authorization": "Bearer wrong"}
PLAIN = {"Content-Type": "text/plain"}
TASK = b'{"task_type": "work", "requirements": {"capabilities": ["pull"]}'
DONE = b'{"status": "completed", "result_data": 7, "node_id": "puller", "attempt": 1'
BATCH, RESULTS, PULL = "tasks/batch", "tasks/results", "nodes/puller/tasks/pull"
WAYS = ("", "?by=route")
Call = tuple[str, bytes, dict[str, str], int]
# In this order: what a task becomes is part of what is answered.
CALLS: tuple[Call, ...] = (
    ("nodes/puller/register", b'{"mode": "pull", "max_concurrency": 9, "capabilities": ["pull"]}', {}, 200),
    ("nodes/pushed/register", b'{"mode": "push", "host": "127.0.0.1", "port": 9}', {}, 200),
    (BATCH, b"", {}, 400),
    (BATCH, b" {} ", {}, 400),
    (BATCH, b"{", {}, 400),
    (BATCH, b"[]", {}, 400),
    (BATCH, b'{"tasks": 7}', {}, 400),
    (BATCH, b'{"tasks": []}', {}, 200),
    (BATCH, b'{"tasks": [{}, {"task_type": ""}, {"task_type": "work", "priority": 9}, 7]}', {}, 200),
    (BATCH, b'{"tasks": [{"task_type": "work"}]}', PLAIN, 415),
    (BATCH, b'{"tasks": [{"task_type": "work"}]}', STRANGER, 401),
    (BATCH, b'{"tasks": [{"task_type": "work"}]}', VIEWER, 403),
    (BATCH, b'{"tasks": [' + TASK + b', "task_id": "one"}, ' + TASK + b', "task_id": "two"}]}', {}, 200),
    (PULL, b'{"limit": 0}', {}, 400),
    (PULL, b'{"limit": 1, "wait": 31}', {}, 400),
    (PULL, b'{"limit": "many"}', {}, 400),
    (PULL, b"{", {}, 400),
    (PULL, b"{}", STRANGER, 401),
    (PULL, b"{}", VIEWER, 403),
    ("nodes/nobody/tasks/pull", b"{}", {}, 404),
    ("nodes/pushed/tasks/pull", b"{}", {}, 400),
    (PULL, b"", {}, 200),
    ("nodes/%70uller/tasks/pull", b'{"limit": 5}', {}, 200),
    (PULL, b'{"limit": 5, "wait": 0.01}', PLAIN, 200),
    ("tasks/one/result", b"{", {}, 400),
    ("tasks/one/result", DONE + b"}", STRANGER, 401),
    ("tasks/one/result", DONE + b"}", VIEWER, 403),
    ("tasks/nothing/result", DONE + b"}", {}, 404),
    ("tasks/one/result", b'{"status": "done"}', {}, 400),
    ("tasks/one/result", b'{"status": "completed", "attempt": 7}', {}, 409),
    ("tasks/one/result", DONE + b"}", {}, 200),
    ("tasks/one/result", DONE + b"}", {}, 200),
    (RESULTS, b"", {}, 400),
    (RESULTS, b"{}", {}, 400),
    (RESULTS, b'{"results": []}', {}, 200),
    (RESULTS, b'{"results": [{"task_id": "two"}]}', VIEWER, 403),
    (RESULTS, b'{"results": [{}, {"task_id": "nothing", "status": "completed"}, {"task_id": "two"}]}', {}, 200),
    (RESULTS, b'{"results": [' + DONE + b', "task_id": "two"}, ' + DONE + b', "task_id": "two"}]}', {}, 200),
)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (GOOD, {}, 200),
        (b"", {}, 400),
        (b" {} ", {}, 400),
        (b"{", {}, 400),
        (b"[1]", {}, 400),
        (b'{"task_type": ""}', {}, 400),
        (b'{"task_type": "work", "priority": 9}', {}, 400),
        (b'{"task_type": "work", "dependencies": ["nobody"]}', {}, 400),
        (GOOD, {"Content-Type": "text/plain"}, 415),
        (GOOD, {"Authorization": "Bearer wrong"}, 401),
        (GOOD, {"Authorization": f"Bearer {VIEWER_KEY}"}, 403),
        (GOOD, {"Idempotency-Key": "k"}, 200),
    ],
)
async def test_both_ways_say_the_same(body: bytes, headers: dict[str, str], status: int, tmp_path: Path) -> None:
    direct, route = [await told([("tasks", body, headers, status)], query, tmp_path) for query in WAYS]
    assert direct == route


async def test_both_ways_answer_what_nodes_ask_and_report_the_same(tmp_path: Path) -> None:
    direct, route = [await told(CALLS, query, tmp_path) for query in WAYS]
    for call, one, other in zip(CALLS, direct, route, strict=True):
        assert one == other, call


async def told(calls: Sequence[Call], query: str, tmp_path: Path) -> list[tuple[Any, list[str]]]:
    """What a new service answers, one call after the other."""
    folder = tmp_path / (query.strip("?") or "direct")
    folder.mkdir()
    async with (
        running_service({**UNLIMITED, "auth": AUTH}, folder) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=20) as client,
    ):
        return [await said(client, call, query) for call in calls]


async def said(client: httpx2.AsyncClient, call: Call, query: str) -> tuple[Any, list[str]]:
    """The body without its moment, and the names of the headers."""
    path, body, headers, status = call
    sent = {"Content-Type": "application/json", "Authorization": f"Bearer {ROOT_KEY}", **headers}
    answer = await client.post(f"/api/v1/{path}{query}", content=body, headers=sent)
    assert answer.status_code == status, (call, answer.text)
    found = answer.json()
    assert found.pop("timestamp")
    for field in ("node", "data"):
        if path.endswith("register"):
            found.pop(field, None)
    return found, sorted(answer.headers)
