"""A task is its principal's, and not anybody's whose key has the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from admin_api import ADMIN, UNLIMITED

from service import running_service

ROOT_KEY = "sk-root-0123456789abcdef"
AUTH = {"enabled": True, "keys": [{"name": "root", "key": ROOT_KEY, "role": "admin"}]}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_two_keys_of_one_name_are_two_principals(tmp_path: Path) -> None:
    async with (
        running_service({**UNLIMITED, "auth": AUTH}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=20) as client,
    ):

        async def key() -> str:
            answer = await client.post(
                f"{ADMIN}/keys", json={"name": "app", "role": "developer"}, headers=bearer(ROOT_KEY)
            )
            assert answer.status_code == 201, answer.text
            text: str = answer.json()["key"]
            return text

        one, other = await key(), await key()
        body = {"task_type": "letters", "input_data": {"secret": "x"}, "idempotency_key": "k"}

        async def submit(who: str) -> str:
            answer = await client.post("/api/v1/tasks", json=body, headers=bearer(who))
            assert answer.status_code == 200, answer.text
            task_id: str = answer.json()["task_id"]
            return task_id

        async def seen(who: str, task_id: str) -> Any:
            return (await client.get(f"/api/v1/tasks/{task_id}", headers=bearer(who))).json()["task"]["input_data"]

        mine, theirs = await submit(one), await submit(other)
        assert mine != theirs  # an idempotency key is one principal's, too
        assert await submit(one) == mine
        assert await seen(one, mine) == {"secret": "x"}
        assert await seen(other, mine) is None
        assert await seen(ROOT_KEY, mine) == {"secret": "x"}


@pytest.mark.parametrize("said", ["Bearer {}", "ApiKey {}", "apikey  {}", "APIKEY {}", "bearer {}"])
async def test_check_34_a_key_is_taken_in_each_spelling(tmp_path: Path, said: str) -> None:
    headers = {"Authorization": said.format(ROOT_KEY)}
    wrong = {"Authorization": said.format("sk-wrong-0123456789abcdef")}
    async with (
        running_service({**UNLIMITED, "auth": AUTH}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=20) as client,
    ):
        body = {"task_type": "t"}
        for way in ("", "?by=route"):
            assert (await client.post(f"/api/v1/tasks{way}", json=body, headers=headers)).status_code == 200
            assert (await client.post(f"/api/v1/tasks{way}", json=body, headers=wrong)).status_code == 401
        for path in ("/api/v1/status", f"{ADMIN}/servers", "/v1/models"):
            assert (await client.get(path, headers=headers)).status_code == 200, path
            assert (await client.get(path, headers=wrong)).status_code == 401, path
        for other in (f"Basic {ROOT_KEY}", f"ApiKeys {ROOT_KEY}", f"ApiKey{ROOT_KEY}", "ApiKey", ROOT_KEY):
            assert (await client.get("/api/v1/status", headers={"Authorization": other})).status_code == 401, other
