"""Submitting has two ways, past ASGI and as a route (which any query in the URL takes): both say the same."""

from __future__ import annotations

from pathlib import Path

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
    sent = {"Content-Type": "application/json", "Authorization": f"Bearer {ROOT_KEY}", **headers}
    told = []
    for query in ("", "?by=route"):
        folder = tmp_path / (query.strip("?") or "direct")
        folder.mkdir()
        async with (
            running_service({**UNLIMITED, "auth": AUTH}, folder) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=20) as client,
        ):
            answer = await client.post(f"/api/v1/tasks{query}", content=body, headers=sent)
            assert answer.status_code == status, answer.text
            found = answer.json()
            assert found.pop("timestamp")
            told.append((found, sorted(answer.headers)))
    assert told[0] == told[1]
