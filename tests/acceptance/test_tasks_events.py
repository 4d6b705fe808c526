"""Events under /api/v1 by server-sent events and by WebSocket: check 32 of the tasks contract."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets import Subprotocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from service import RunningService, free_port, running_service, spawned_service

KEY = "key-of-a-viewer-0123456789"
ADMIN = "key-of-an-admin-0123456789"
NODE = "key-of-a-node-0123456789"
AUTH: dict[str, Any] = {"enabled": True, "keys": [{"name": "v", "key": KEY, "role": "viewer"}]}


@asynccontextmanager
async def api(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with (
        running_service(config, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url + "/api/v1", timeout=20) as client,
    ):
        yield running, client


def socket(running: RunningService, query: str = "", **options: Any) -> connect:
    return connect(running.url.replace("http", "ws", 1) + f"/api/v1/ws{query}", **options)


async def heard(websocket: ClientConnection, timeout: float = 10) -> dict[str, Any]:
    async with asyncio.timeout(timeout):
        found: dict[str, Any] = json.loads(await websocket.recv())
    return found


async def until_it_ends(websocket: ClientConnection) -> None:
    while True:
        await heard(websocket)


async def worked(client: httpx2.AsyncClient) -> str:
    """A node registers, a task is submitted, done and reported."""
    await client.post("/nodes/n/register", json={"host": "h", "mode": "pull"})
    task_id = str((await client.post("/tasks", json={"task_type": "t"})).json()["task_id"])
    [task] = (await client.post("/nodes/n/tasks/pull", json={"wait": 10})).json()["tasks"]
    report = {"status": "completed", "attempt": task["attempt"], "node_id": "n"}
    await client.post(f"/tasks/{task_id}/result", json=report)
    return task_id


async def told(client: httpx2.AsyncClient, count: int, path: str = "/events", **headers: str) -> list[dict[str, Any]]:
    """The first events of a stream; `id` and `event` are those of the frame."""
    found: list[dict[str, Any]] = []
    frame: dict[str, Any] = {}
    async with asyncio.timeout(10), client.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "data":
                frame |= json.loads(value)
            elif name in ("id", "event"):
                frame[name] = value
            elif not line and frame:
                found.append(frame)
                frame = {}
                if len(found) == count:
                    break
    return found


async def test_32_the_websocket_tells_what_happens(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client), socket(running) as websocket:
        first = await heard(websocket)
        info = (await client.get("/websocket/info")).json()["websocket"]
        task_id = await worked(client)
        kinds: dict[str, dict[str, Any]] = {}
        while "task_completed" not in kinds:
            one = await heard(websocket)
            kinds[one["type"]] = one
        while "network_status" not in kinds:
            one = await heard(websocket, 6)
            kinds[one["type"]] = one
    assert first["type"] == "initial_status"
    assert first["data"]["nodes"]["total"] == 0
    assert info["connected_clients"] == 1
    assert kinds["node_registered"]["data"] == {"node_id": "n"}
    for kind in ("task_submitted", "task_assigned", "task_completed"):
        assert kinds[kind]["data"]["task_id"] == task_id
        assert kinds[kind].keys() == {"type", "data", "timestamp", "sequence", "id"}
    assert kinds["network_status"]["data"]["tasks"]["completed"] == 1
    numbers = [kinds[kind]["sequence"] for kind in ("task_submitted", "task_assigned", "task_completed")]
    assert numbers == sorted(set(numbers))


async def test_only_the_types_that_were_asked_for(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        async with socket(running, "?type=task_completed,task_failed") as websocket:
            await heard(websocket)
            task_id = await worked(client)
            one = await heard(websocket)
        with pytest.raises(InvalidStatus) as refused:
            await socket(running, "?type=gossip")
    assert (one["type"], one["data"]["task_id"]) == ("task_completed", task_id)
    assert refused.value.response.status_code == 400


async def test_a_websocket_goes_on_where_it_was(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        async with socket(running) as websocket:
            await heard(websocket)
            await client.post("/nodes/n/register", json={"host": "h"})
            seen = await heard(websocket)
        await client.post("/nodes/m/register", json={"host": "h"})
        async with socket(running, f"?last_event_id={seen['id']}") as websocket:
            await heard(websocket)
            missed = await heard(websocket)
    assert seen["data"] == {"node_id": "n"}
    assert missed["data"] == {"node_id": "m"}


async def test_what_a_client_says_is_answered(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        await client.post("/nodes/n/register", json={"host": "h", "port": 1234})
        async with socket(running) as websocket:
            await heard(websocket)
            answers = {}
            said = {
                "ping": '{"type": "ping"}',
                "alerts": '{"type": "subscribe_to_alerts"}',
                "node": '{"type": "request_node_details", "node_id": "n"}',
                "nobody": '{"type": "request_node_details", "node_id": "x"}',
                "broken": "{",
                "list": "[]",
                "deep": "[" * 10_000,
                "unknown": '{"type": ["?"]}',
                "half": r'{"type": "\ud800"}',
                "half a node": r'{"type": "request_node_details", "node_id": "\udc00"}',
                "no text": b'{"type": "\xed\xa0\x80"}',
            }
            for name, text in said.items():
                await websocket.send(text)
                answers[name] = await heard(websocket)
    assert answers["ping"]["type"] == "pong"
    assert answers["alerts"]["data"] == {"subscription": "alerts"}
    assert (answers["node"]["type"], answers["node"]["data"]["port"]) == ("node_details", 1234)
    for name in ("nobody", "broken", "list", "deep", "unknown", "half", "half a node", "no text"):
        assert answers[name]["type"] == "error", name
        assert answers[name]["data"]["message"], name


async def test_alerts_are_told_to_those_who_asked(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, _), socket(running) as websocket:
        await websocket.send('{"type": "subscribe_to_alerts"}')
        kinds = [await heard(websocket) for _ in range(4)]
    [alert] = [one for one in kinds if one["type"] == "alert"]
    assert alert["data"]["id"] == "no_nodes"


async def test_a_message_that_is_too_long_ends_the_websocket(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, _), socket(running) as websocket:
        await websocket.send("x" * 100_000)
        with pytest.raises(ConnectionClosed) as closed:
            await until_it_ends(websocket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_websocket_asks_for_a_key(tmp_path: Path) -> None:
    async with api(tmp_path, auth=AUTH) as (running, _):
        statuses = []
        for headers in ({}, {"X-API-Key": "wrong"}):
            with pytest.raises(InvalidStatus) as refused:
                await socket(running, additional_headers=headers)
            statuses.append(refused.value.response.status_code)
        async with socket(running, additional_headers={"Authorization": f"Bearer {KEY}"}) as websocket:
            first = await heard(websocket)
        protocols = [Subprotocol("orchestrator"), Subprotocol(f"key.{KEY}")]
        async with socket(running, subprotocols=protocols) as websocket:  # as a page must do it
            second = await heard(websocket)
            chosen = websocket.subprotocol
    assert statuses == [401, 401]
    assert first["type"] == second["type"] == "initial_status"
    assert chosen == "orchestrator"


async def refusal(url: str, **headers: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=headers)
    return refused.value.response.status_code, json.loads(refused.value.response.body or b"{}")


async def test_a_refused_handshake_is_answered_once_and_leaves_no_trace_in_the_log(tmp_path: Path) -> None:
    keys = [*AUTH["keys"], {"name": "n", "key": NODE, "role": "node"}]
    port = free_port()
    config = {"auth": AUTH | {"keys": keys}, "tasks": {"websocket_port": port}}
    with spawned_service(config, tmp_path) as service:
        main = f"{service.url.replace('http', 'ws', 1)}/api/v1/ws"
        for url in (main, f"ws://127.0.0.1:{port}/"):
            found = [
                await refusal(f"{url}?type=foo", **{"X-API-Key": KEY}),
                await refusal(f"{url}?type={'x' * 1001}", **{"X-API-Key": KEY}),
                await refusal(url),
                await refusal(url, **{"X-API-Key": NODE}),
            ]
            assert [status for status, _ in found] == [400, 400, 401, 403]
            assert [body["details"].get("field") for _, body in found] == ["type", "type", None, None]
            assert all(body["success"] is False for _, body in found)
            elsewhere = await refusal(url, Origin="https://evil.example", **{"X-API-Key": KEY})
            assert elsewhere[0] == 403
    log = service.log.read_text()
    assert "Traceback" not in log
    assert "RuntimeError" not in log


async def test_a_key_that_is_revoked_ends_its_websocket(tmp_path: Path) -> None:
    keys = [*AUTH["keys"], {"name": "a", "key": ADMIN, "role": "admin"}]
    async with api(tmp_path, auth=AUTH | {"keys": keys}) as (running, client):
        bearer = {"Authorization": f"Bearer {ADMIN}"}
        made = await client.post(
            running.url + "/api/orchestrator/keys", headers=bearer, json={"name": "w", "role": "viewer"}
        )
        assert made.status_code in (200, 201), made.text
        key = made.json()
        async with socket(running, additional_headers={"X-API-Key": key["key"]}) as websocket:
            await heard(websocket)
            await client.delete(f"{running.url}/api/orchestrator/keys/{key['id']}", headers=bearer)
            with pytest.raises(ConnectionClosed) as closed:
                await until_it_ends(websocket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}])
async def test_a_page_of_somebody_else_cannot_open_one(tmp_path: Path, headers: dict[str, str]) -> None:
    async with api(tmp_path) as (running, _):
        with pytest.raises(InvalidStatus) as refused:
            await socket(running, additional_headers=headers)
        own = {"Origin": running.url}
        async with socket(running, additional_headers=own) as websocket:
            assert (await heard(websocket))["type"] == "initial_status"
    assert refused.value.response.status_code == 403


async def test_no_more_than_there_may_be(tmp_path: Path) -> None:
    async with api(tmp_path, tasks={"websocket_max": 1}) as (running, client):
        async with socket(running) as websocket:
            await heard(websocket)
            with pytest.raises(InvalidStatus) as refused:
                await socket(running)
        await running.until(lambda: running.service.bulletin.followers["websocket"] == 0)
        async with socket(running) as websocket:
            await heard(websocket)
        await client.put("/config/websocket.max_connections", json={"value": 0})
        assert (await client.get("/events")).status_code == 429
        info = (await client.get("/websocket/info")).json()["websocket"]
    assert refused.value.response.status_code == 429
    assert info["enabled"] is False


async def test_it_ends_when_the_service_stops(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        stream = asyncio.create_task(told(client, 1))
        async with socket(running) as websocket:
            await heard(websocket)
            await running.until(lambda: running.service.bulletin.followers["stream"] == 1)
            running.service.stop()
            with pytest.raises(ConnectionClosed) as closed:
                await until_it_ends(websocket)
            async with asyncio.timeout(10):
                [end] = await stream
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code in (1001, 1012)
    assert end["event"] == "end"


async def test_a_stream_goes_on_after_the_last_event(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        for node in ("a", "b", "c"):
            await client.post(f"/nodes/{node}/register", json={"host": "h"})
        whole = await told(client, 3, **{"Last-Event-ID": "0"})  # all that is kept
        rest = await told(client, 2, **{"Last-Event-ID": whole[0]["id"]})
        same = await told(client, 2, f"/events?last_event_id={whole[0]['id']}")
        await running.until(lambda: running.service.bulletin.followers["stream"] == 0)
    assert [one["data"]["node_id"] for one in whole] == ["a", "b", "c"]
    assert [one["event"] for one in whole] == ["node_registered"] * 3
    assert rest == same == whole[1:]


@pytest.mark.parametrize("since", ["0", "0.0", "1", "1970-01-01T00:00:00Z"])
async def test_since_the_beginning_tells_all_that_is_kept(tmp_path: Path, since: str) -> None:
    async with api(tmp_path) as (running, client):
        for node in ("a", "b"):
            await client.post(f"/nodes/{node}/register", json={"host": "h"})
        whole = await told(client, 2, f"/events?since={since}")
        async with socket(running, f"?since={since}") as websocket:
            kinds = [(await heard(websocket))["type"] for _ in range(3)]
    assert [one["data"]["node_id"] for one in whole] == ["a", "b"]
    assert kinds == ["initial_status", "node_registered", "node_registered"]


async def test_a_stream_of_some_types(tmp_path: Path) -> None:
    async with api(tmp_path) as (running, client):
        stream = asyncio.create_task(told(client, 1, "/events?type=task_completed"))
        await running.until(lambda: running.service.bulletin.followers["stream"] == 1)
        task_id = await worked(client)
        [one] = await stream
        unknown = await client.get("/events?type=gossip")
    assert one["data"]["task_id"] == task_id
    assert unknown.status_code == 400


async def raw(running: RunningService, request: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            line = await reader.readline()
    except ConnectionError:
        return 0
    finally:
        writer.close()
    return int(line.split(b" ")[1]) if line else 0


UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
NONCE = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.mark.parametrize(
    ("line", "headers", "statuses"),
    [
        (b"GET /api/v1/ws", UPGRADE + NONCE, {101}),
        (b"GET /api/v1/ws", UPGRADE, {400}),
        (b"GET /api/v1/ws", b"", {404, 405}),
        (b"POST /api/v1/ws", UPGRADE + NONCE, {404, 405}),
        (b"GET /api/v1/status", UPGRADE + NONCE, {200}),
        (b"GET /api/v1/%77s", UPGRADE + NONCE, {404, 405}),
        (b"GET /api/v1/ws", UPGRADE + NONCE + b"X: " + b"x" * 20_000 + b"\r\n", {404}),
        (
            b"GET /api/v1/ws",
            UPGRADE + NONCE + b"".join(b"X-%d: x\r\n" % number for number in range(300)),
            {404},
        ),
    ],
)
async def test_requests_that_are_almost_a_websocket(
    tmp_path: Path, line: bytes, headers: bytes, statuses: set[int]
) -> None:
    async with api(tmp_path) as (running, client):
        host = running.url.removeprefix("http://").encode()
        status = await raw(running, b"%b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (line, host, headers))
        wrong = await raw(running, b"%b HTTP/1.1\r\nHost: evil.example\r\n%b\r\n" % (line, headers))
        assert (await client.get("/health")).status_code == 200
    assert status in statuses
    assert wrong in (0, 400, 403, 421, 431)
