"""Built-in tools for data, the web and commands, called over HTTP in a running service."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tool_surfaces import AUTH, bearer

from orchestrator.domain.errors import ConfigurationError
from service import running_service

NAMES = {
    "data-processing": "ENABLED",
    "validation": "ENABLED",
    "sql": "ENABLED",
    "sql-write": "DISABLED",
    "http-client": "ENABLED",
    "web-search": "ENABLED",
    "headless-browser": "ENABLED",
    "terminal": "ENABLED",
    "python-executor": "ENABLED",
}


class Api:
    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self.client = client
        self.url = url

    async def call(self, name: str, expect: int = 200, **arguments: Any) -> Any:
        answer = await self.client.post(
            f"/api/v1/tools/builtin:{name}/call", json={"arguments": arguments}, headers=bearer("developer")
        )
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def done(self, name: str, **arguments: Any) -> Any:
        told = await self.call(name, **arguments)
        assert told["success"], told["error"]
        return told["result"]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE fruit (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO fruit VALUES (1, 'apple'), (2, 'pear')")
    connection.close()
    tools = {
        "root": str(tmp_path / "files"),
        "hosts": ["127.0.0.1"],
        "databases": {"shop": {"url": f"sqlite:///{tmp_path / 'shop.db'}"}},
        "execution": "process",
        "approvals": {"dangerous": "never"},
    }
    async with (
        running_service({"auth": AUTH, "tools": tools}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=60) as client,
    ):
        yield Api(client, running.url)


async def test_they_are_listed_with_what_they_may_do(api: Api) -> None:
    told = await api.client.get("/api/v1/tools?source=builtin&limit=100", headers=bearer("viewer"))
    found = {tool["name"]: tool for tool in told.json()["tools"]}
    assert {name: found[name]["status"] for name in NAMES} == NAMES
    assert found["terminal"]["execution"]["side_effect"] == "dangerous"
    assert found["http-client"]["execution"]["side_effect"] == "external"


async def test_data_and_databases(api: Api) -> None:
    rows = (await api.done("sql", query="SELECT * FROM fruit ORDER BY id"))["rows"]
    await api.done("filesystem", action="write", path="fruit.json", content=rows)
    found = await api.done("data-processing", action="filter", data="fruit.json", criteria="name.startswith('p')")
    assert found["processed_data"]["data"] == [{"id": 2, "name": "pear"}]
    schema = (await api.done("validation", action="infer_schema", data=rows))["schema"]
    assert (await api.done("validation", data=rows, schema=schema))["valid"] is True
    refused = await api.call("sql", query="DELETE FROM fruit")
    assert (refused["state"], refused["error"]["code"]) == ("FAILED", "invalid_request")
    off = await api.call("sql-write", expect=409, query="DELETE FROM fruit")
    assert "tools.databases" in str(off)


async def test_the_web(api: Api) -> None:
    found = await api.done("http-client", url=f"{api.url}/health")
    assert found["status"] == 200
    assert (await api.done("headless-browser", action="verify", url=f"{api.url}/health"))["accessible"] is True
    refused = await api.call("http-client", url="http://169.254.169.254/")
    assert "tools.hosts" in refused["error"]["message"]
    assert "tools.search_url" in (await api.call("web-search", query="x", backend="bing"))["error"]["message"]
    told = await api.call("headless-browser", action="screenshot", url=api.url)
    assert told["error"]["code"] == "not_available"


async def test_commands(api: Api) -> None:
    await api.done("filesystem", action="write", path="in/a.txt", content="one\ntwo\n")
    assert (await api.done("terminal", command="wc -l < a.txt", working_dir="in"))["stdout"].strip() == "2"
    assert (await api.done("python-executor", code="print({'a': 1}['a'])"))["result"] == 1
    environment = (await api.done("terminal", command="env; cat /proc/$PPID/environ"))["stdout"]
    assert "ORCHESTRATOR" not in environment
    late = await api.call("terminal", command="sleep 30", timeout=0.5)
    assert late["error"]["code"] == "tool_timeout"


async def test_commands_are_off_until_the_operator_says_otherwise(tmp_path: Path) -> None:
    async with (
        running_service({"auth": AUTH}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=60) as client,
    ):
        told = await Api(client, running.url).call("terminal", expect=409, command="id")
        assert "tools.execution" in str(told)


async def test_the_services_own_database_is_refused(tmp_path: Path) -> None:
    own = f"sqlite:///{tmp_path / 'own.db'}"
    settings = {"database": {"url": own}, "tools": {"databases": {"own": {"url": own}}}}
    with pytest.raises(ConfigurationError, match=r"tools\.databases\.own: this is the service's own"):
        async with running_service(settings, tmp_path):
            pass
