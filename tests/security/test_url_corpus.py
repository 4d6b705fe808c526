"""Reliability anchor 46: URLs that lead, or seem to lead, to what a client must not reach, in every place that takes
one. The operator allows the whole public internet and the name `localhost`; nothing of the list is either."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import httpx2
import pytest

from audit_trail import CONNECTS, audited, connections
from orchestrator.adapters.http1.pool import ConnectionPool
from orchestrator.domain.errors import ConnectFailed, InvalidRequest
from orchestrator.domain.webhook import ended
from orchestrator.domain.webhook_hosts import WebhookHosts
from orchestrator.domain.worker_hosts import WorkerHosts
from orchestrator.services.tasks.reach import Reach
from orchestrator.services.tasks.webhook_post import WebhookPost
from service import RunningService, running_service
from task_samples import queued
from web_stub import Page, web_stub

HOSTS = [
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "127.0.0.1",
    "127.1.2.3",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[::]",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "[fe80::1]",
    "[fc00::1]",
    "[ff02::1]",
    "localhost",
    "LOCALHOST",
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.1",
    "0",
    "127.0.0.1.",
    "localhost.",
]
URLS = [f"http://{host}/latest/meta-data/" for host in HOSTS] + [
    "https://169.254.169.254/",
    "http://user@127.0.0.1/",
    "http://user:password@127.0.0.1/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://127.0.0.1%2f@example.com/",
    "http://127.0.0.1%00.example.com/",
    "http://[fe80::1%25eth0]/",
    "http://127.0.0.1:80:80/",
    "http://127.0.0.1:99999/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://\t127.0.0.1/",
    "http://127.0.0.1\r\nHost: example.com/",
    "http:127.0.0.1/",
    "//127.0.0.1/",
    "http:///127.0.0.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "dict://127.0.0.1:11211/stats",
    "ftp://127.0.0.1/",
    "http+unix://%2fvar%2frun%2fdocker.sock/info",
    "unix:///var/run/docker.sock",
    "jar:http://127.0.0.1!/",
    "javascript:alert(1)",
    "",
]
PUBLIC = ["0.0.0.0/0", "::/0", "localhost"]
CONFIG: dict[str, Any] = {
    "tools": {"hosts": PUBLIC, "mcp_hosts": PUBLIC},
    "tasks": {"http_hosts": PUBLIC},
}


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    """And nothing but the clients of this test connects to anything."""
    with audited(CONNECTS) as found:
        async with (
            running_service(CONFIG, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=30, trust_env=False) as http,
        ):
            yield running, http
            port = int(running.url.rpartition(":")[2])
            assert connections(found, port) == []


async def called(http: httpx2.AsyncClient, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = await http.post(f"/api/v1/tools/{tool}/call", json={"arguments": arguments})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_tools_of_the_kind_http(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        for number, url in enumerate(URLS):
            body = {"name": f"t{number}", "category": "c", "execution": {"kind": "http", "binding": {"url": url}}}
            answer = await http.post("/tools/", json=body)
            if answer.status_code == 200:
                call = await called(http, f"t{number}", {})
                assert (call["success"], call["error"]["code"]) == (False, "invalid_request"), (url, call)
            else:
                assert answer.status_code == 400, (url, answer.text)


async def test_built_in_tools_that_take_a_url(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        offered = (await http.get("/api/v1/tools", params={"kind": "builtin", "limit": 200})).json()["tools"]
        taking = {tool["name"]: tool for tool in offered if "url" in (tool["input_schema"] or {}).get("properties", {})}
        assert {"http-client", "headless-browser"} <= taking.keys()
        for name, tool in taking.items():
            actions = tool["input_schema"]["properties"].get("action", {}).get("enum", [None])
            for url, action in product(URLS, actions):
                arguments = {"url": url} if action is None else {"url": url, "action": action}
                answer = await http.post(f"/api/v1/tools/{name}/call", json={"arguments": arguments})
                assert answer.status_code in (200, 422, 429, 501), (name, arguments, answer.text)
                result = answer.json().get("result") or {}
                assert not answer.json().get("success") or not result.get("success", True), (arguments, answer.text)


async def test_addresses_of_nodes(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        for number, url in enumerate(URLS):
            node = {"node_type": "TOOL_EXECUTOR", "address": url, "status": "ACTIVE"}
            answer = await http.post("/nodes/", json=node)
            if answer.status_code != 200:
                assert answer.status_code in (400, 422), (url, answer.text)
                continue
            tool = {"name": f"n{number}", "category": "c", "target_node_id": answer.json()["node_id"]}
            execution = {"kind": "http", "binding": {"path": "/run", "method": "GET"}}
            assert (await http.post("/tools/", json={**tool, "execution": execution})).status_code == 200
            call = await called(http, f"n{number}", {})
            assert (call["success"], call["error"]["code"]) == (False, "invalid_request"), (url, call)


async def test_tasks_of_the_type_http(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        ids = []
        for url in URLS:
            body = {"task_type": "http", "input_data": {"url": url}, "max_retries": 0}
            answer = await http.post("/api/v1/tasks", json=body)
            assert answer.status_code in (200, 201, 202), answer.text
            ids.append((url, answer.json()["task_id"]))
        for url, task_id in ids:
            answer = await http.get(f"/api/v1/tasks/{task_id}", params={"wait": 20})
            task = answer.json()["task"]
            assert task["state"] == "failed", (url, task)
            assert "input_data" in task["error_message"], (url, task)


async def test_mcp_servers(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        for number, url in enumerate(URLS):
            answer = await http.post("/api/v1/mcp/servers", json={"name": f"s{number}", "url": url})
            assert answer.status_code == 400, (url, answer.text)


async def test_places_of_artifacts_are_never_fetched(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        for number, url in enumerate([*URLS, "http://127.0.0.1:9/x", "s3://bucket/key"]):
            body = {"file_name": f"f{number}", "mime_type": "text/plain", "size_bytes": 1, "storage_pointer": url}
            answer = await http.post("/artifacts/", json=body)
            if answer.status_code != 200:
                assert answer.status_code in (400, 422), (url, answer.text)
                continue
            artifact = answer.json()["artifact_id"]
            for method, path in (
                ("GET", f"/artifacts/{artifact}"),
                ("GET", f"/api/v1/artifacts/{artifact}/content"),
                ("HEAD", f"/api/v1/artifacts/{artifact}/content"),
                ("POST", f"/api/v1/artifacts/{artifact}/verify"),
                ("GET", f"/api/v1/artifacts/{artifact}/lineage"),
                ("DELETE", f"/artifacts/{artifact}"),
            ):
                answer = await http.request(method, path)
                assert answer.status_code < 500, (url, method, path, answer.text)


@pytest.mark.parametrize("redirects", [True, False])
async def test_no_redirect_leads_there_either(tmp_path: Path, redirects: bool) -> None:
    """A server that the operator allows answers with a redirect to one that he does not."""
    seen: list[str] = []

    def away(_sent: object) -> Page:
        return Page(307 if redirects else 302, headers={"Location": f"http://127.0.0.1:{inner.port}/secret"})

    async with (
        web_stub(Page(body=b"the secret")) as inner,
        web_stub(away, "127.0.0.2") as outer,
    ):
        allowed = ["127.0.0.2/32"]
        config = {"tools": {"hosts": allowed, "mcp_hosts": allowed}, "tasks": {"http_hosts": allowed}}
        url = f"http://127.0.0.2:{outer.port}/"
        async with (
            running_service(config, tmp_path) as running,
            httpx2.AsyncClient(base_url=running.url, timeout=30, trust_env=False) as http,
        ):
            body = {"name": "t", "category": "c", "execution": {"kind": "http", "binding": {"url": url}}}
            await http.post("/tools/", json=body)
            seen.append((await http.post("/api/v1/tools/t/call", json={"arguments": {}})).text)
            task = {"task_type": "http", "input_data": {"url": url}, "max_retries": 0}
            task_id = (await http.post("/api/v1/tasks", json=task)).json()["task_id"]
            seen.append((await http.get(f"/api/v1/tasks/{task_id}", params={"wait": 20})).text)
            await http.post("/api/v1/mcp/servers", json={"name": "s", "url": url})
            seen.append((await http.post("/api/v1/mcp/servers/s/refresh", json={})).text)
        assert len(outer.sent) >= 3
        assert not inner.connections
        assert not any("the secret" in text for text in seen)


async def test_webhooks_and_workers_go_only_where_the_operators_list_says() -> None:
    """These two have rules of their own, which allow private addresses unless there is a list."""
    pool = ConnectionPool()
    hooks = WebhookHosts.of(["hooks.example.com", "203.0.113.0/24"], loopback=True)
    post = WebhookPost(pool, Reach(lambda: hooks, lambda: 0.0, "tasks.webhook_hosts"))
    listed = WorkerHosts.of(["203.0.113.0/24"])
    reach = Reach(lambda: listed, lambda: 0.0)
    try:
        with audited(CONNECTS) as found:
            for url in URLS:
                webhook = ended("t", 1, url, "me", 0.0)
                with pytest.raises((ConnectFailed, InvalidRequest)):
                    await post.send(webhook, queued("t"), b"", 0.0)
            for host in HOSTS:
                with pytest.raises(ConnectFailed):
                    await reach.address(host, 80)
        assert connections(found) == []
    finally:
        await pool.close()


@pytest.mark.parametrize("host", HOSTS[:10])
async def test_without_a_list_clouds_keep_their_secrets(host: str) -> None:
    hooks = Reach(lambda: WebhookHosts.of((), loopback=True), lambda: 0.0)
    with pytest.raises(ConnectFailed):
        await hooks.address(host.strip("[]"), 80)
