"""Calls of tools over HTTP: who may, what is refused, what is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tool_surfaces import bearer, python_tools

from doubling import NUMBER
from service import running_service
from stub_node import stub_node

NOBODY = "00000000-0000-0000-0000-000000000000"
HTTP: dict[str, Any] = {"kind": "http", "binding": {"url": "http://127.0.0.1:1/x"}}


class Api:
    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def send(
        self, who: str, method: str, path: str, body: Any = None, *, expect: int = 200, **headers: str
    ) -> Any:
        answer = await self.client.request(method, f"/api/v1{path}", json=body, headers=bearer(who) | headers)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def call(self, who: str, name: str, *, expect: int = 200, **body: Any) -> Any:
        return await self.send(who, "POST", f"/tools/{name}/call", body, expect=expect)

    async def tool(self, name: str, expect: int = 201, **fields: Any) -> Any:
        return await self.send("admin", "POST", "/tools", {"name": name, "category": "T", **fields}, expect=expect)

    async def refused(self, path: str, body: Any, code: str, expect: int, who: str = "developer") -> Any:
        told = await self.send(who, "POST", path, body, expect=expect)
        assert (told["success"], told["details"]["code"]) == (False, code)
        assert isinstance(told["error"], str)
        return told["details"]


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    async with serving(tmp_path, monkeypatch) as found:
        yield found


@asynccontextmanager
async def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str = "") -> AsyncIterator[Api]:
    config, environ = python_tools(tmp_path)
    monkeypatch.setenv("PYTHONPATH", environ["PYTHONPATH"])
    database = {"database": {"url": url}} if url else {}
    async with (
        running_service({**config, **database}, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=40) as client,
    ):
        yield Api(client)


async def test_a_call_is_kept_with_all_that_is_known_of_it(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, monkeypatch, database_url) as api:
        body = {"arguments": {"number": 21, "words": ["a"]}, "idempotency_key": "once"}
        call = await api.call("developer", "python-double", **body)
        assert call["data"] == {name: call[name] for name in call["data"]}
        assert (call["success"], call["state"], call["error"]) == (True, "SUCCEEDED", None)
        assert call["result"] == {"twice": 42, "words": ["a"]}
        assert (call["tool"], call["attempts"], call["side_effect"]) == ("python-double", 1, "external")
        assert call["created_at"] <= call["started_at"] <= call["ended_at"]
        shown = (await api.send("developer", "GET", f"/tool-calls/{call['call_id']}"))["call"]
        assert shown == call["data"]

        assert (await api.call("developer", "python-double", **body))["data"] == call["data"]
        header = {"Idempotency-Key": "once"}
        path = "/tools/python-double/call"
        again = await api.send("developer", "POST", path, {"arguments": body["arguments"]}, **header)
        assert again["call_id"] == call["call_id"]
        taken = await api.call("developer", "python-double", expect=409, **body | {"arguments": {"number": 22}})
        assert (taken["details"]["code"], taken["details"]["call_id"]) == ("IDEMPOTENCY_CONFLICT", call["call_id"])
        other = await api.call("other", "python-double", **body | {"arguments": {"number": 22}})
        assert other["result"]["twice"] == 44  # a key is one principal's

        for number in range(3):
            await api.call("developer", "python-double", arguments={"number": number})
        await api.call("developer", "python-refuse", arguments={"number": 1})
        page = await api.send("developer", "GET", "/tool-calls?tool=python-double&limit=2&skip=1")
        assert ([one["arguments"]["number"] for one in page["calls"]], page["total"]) == ([1, 0], 4)
        assert "result" not in page["calls"][0]
        failed = await api.send("developer", "GET", "/tool-calls?state=FAILED")
        assert [(one["tool"], one["error"]["code"]) for one in failed["calls"]] == [("python-refuse", "tool_failed")]
        await api.send("developer", "GET", "/tool-calls?tool=nobody", expect=404)


async def test_calls_of_others_are_seen_by_who_may(api: Api) -> None:
    call = await api.call("developer", "python-double", arguments={"number": 1})
    path = f"/tool-calls/{call['call_id']}"
    for who in ("other", "viewer", "operator"):
        await api.send(who, "GET", path, expect=404)
        assert (await api.send(who, "GET", "/tool-calls"))["total"] == 0
        await api.send(who, "GET", f"/tool-calls?principal_id={call['principal']}", expect=403)
    assert (await api.send("admin", "GET", path))["call"] == call["data"]
    assert (await api.send("admin", "GET", f"/tool-calls?principal_id={call['principal']}"))["total"] == 1
    await api.send("other", "POST", f"{path}/cancel", expect=404)
    for who in ("viewer", "operator"):
        await api.call(who, "python-double", expect=403, arguments={"number": 1})
        await api.send(who, "POST", f"{path}/cancel", expect=403)
    for who in ("viewer", "operator", "developer"):
        await api.send(who, "GET", "/approvals", expect=403)
        await api.send(who, "POST", f"/approvals/{call['call_id']}/approve", {}, expect=403)
    await api.send("viewer", "POST", "/tools", {"name": "a", "category": "b"}, expect=403)
    await api.send("viewer", "POST", "/tools/python-double/validate", {"arguments": {"number": 1}})


async def test_a_call_that_is_left_alone_ends_or_is_cancelled(api: Api) -> None:
    call = await api.call("developer", "python-double", expect=202, arguments={"number": 4}, wait=0)
    assert (call["state"], call["success"], call["result"]) == ("RUNNING", False, None)
    done = (await api.send("developer", "GET", f"/tool-calls/{call['call_id']}?wait=20"))["call"]
    assert (done["state"], done["result"]["twice"]) == ("SUCCEEDED", 8)

    slow = await api.call("developer", "python-sleep", expect=202, arguments={"number": 4}, wait=0.1)
    path = f"/tool-calls/{slow['call_id']}"
    assert (await api.send("developer", "GET", f"{path}?wait=0.1"))["call"]["state"] == "RUNNING"
    assert (await api.send("developer", "POST", f"{path}/cancel"))["call"]["state"] == "CANCELLED"
    assert (await api.send("developer", "GET", path))["call"]["state"] == "CANCELLED"
    await api.refused(f"{path}/cancel", None, "CONFLICT", 409)
    await api.refused(f"/tool-calls/{NOBODY}/cancel", None, "NOT_FOUND", 404)


async def test_an_approval_may_change_the_arguments_and_comes_once(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "orchestrator.audit"):
        wanted = await api.call("developer", "python-guarded", expect=202, arguments={"number": 4})
        inbox = await api.send("admin", "GET", "/approvals")
        assert inbox["total"] == 1
        assert inbox["approvals"][0]["arguments"] == {"number": 4}
        assert inbox["approvals"][0]["expires_at"] > wanted["created_at"]
        path = f"/approvals/{wanted['call_id']}"
        bad = await api.refused(f"{path}/approve", {"arguments": {"number": "x"}}, "INVALID_ARGUMENTS", 422, "admin")
        assert bad["problems"][0]["path"] == "/number"
        body = {"arguments": {"number": 5}, "reason": "five is better"}
        begun = (await api.send("admin", "POST", f"{path}/approve", body))["call"]
        assert (begun["decision"]["approved"], begun["decision"]["reason"]) == (True, "five is better")
        done = (await api.send("developer", "GET", f"/tool-calls/{wanted['call_id']}?wait=20"))["call"]
        assert (done["state"], done["arguments"], done["result"]["twice"]) == ("SUCCEEDED", {"number": 5}, 10)
        for word in ("approve", "reject"):
            await api.refused(f"{path}/{word}", {}, "CONFLICT", 409, "admin")
            await api.refused(f"/approvals/{NOBODY}/{word}", None, "NOT_FOUND", 404, "admin")
        assert (await api.send("admin", "GET", "/approvals"))["total"] == 0
    actions = [record.__dict__["action"] for record in caplog.records if record.name == "orchestrator.audit"]
    assert actions == ["tool_call.approve"]


async def test_what_cannot_be_called_says_why(api: Api) -> None:
    await api.tool("told of", input_schema={"type": "object"})
    await api.tool("off/with slash", status="DISABLED", execution=HTTP)
    for kind in ("pipeline", "agent"):
        await api.tool(kind, execution={"kind": kind})
        await api.refused(f"/tools/{kind}/call", {}, "NOT_AVAILABLE", 501)
    await api.refused("/tools/nobody/call", {}, "NOT_FOUND", 404)
    await api.refused("/tools/told%20of/call", {}, "NOT_EXECUTABLE", 409)
    await api.refused("/tools/off%2Fwith%20slash/call", {}, "TOOL_DISABLED", 409)
    for body, field in (
        ({"arguments": []}, "arguments"),
        ({"args": {}}, "args"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": 1e9}, "timeout"),
        ({"wait": -1}, "wait"),
        ({"idempotency_key": ""}, "idempotency_key"),
    ):
        told = await api.refused("/tools/python-double/call", body, "INVALID_REQUEST", 400)
        assert told["field"] == field
    for raw in (b"{", b"[]", b'{"arguments": {"number": NaN}}'):
        headers = bearer("developer") | {"Content-Type": "application/json"}
        answer = await api.client.post("/api/v1/tools/python-double/call", content=raw, headers=headers)
        assert answer.status_code == 400, answer.text
    told = await api.refused(
        "/tools/python-double/call", {"arguments": {"number": 1, "more": 2}}, "INVALID_ARGUMENTS", 422
    )
    assert "more" in told["problems"][0]["message"]
    valid = await api.send("viewer", "POST", "/tools/python-double/validate", {"arguments": {"number": "1"}})
    assert (valid["valid"], valid["problems"][0]["path"]) == (False, "/number")
    assert (await api.send("viewer", "POST", "/tools/told%20of/validate", {}))["valid"] is True


async def test_tools_of_all_sources_are_listed_and_only_the_registry_s_change(api: Api) -> None:
    names = {"python-double", "python-wrong", "python-refuse", "python-sleep", "python-vanish", "python-guarded"}
    listed = await api.send("viewer", "GET", "/tools?source=config")
    assert ({one["name"] for one in listed["tools"]}, listed["total"]) == (names, len(names))
    assert (await api.client.get("/tools/", headers=bearer("viewer"))).json() == []

    made = await api.tool("a/b", description="sends letters", execution=HTTP | {"side_effect": "write", "cost": 0.5})
    tool_id = made["tool_id"]
    assert made["tool"]["execution"] == {
        **HTTP, "side_effect": "write", "approval": "inherit", "timeout": None, "attempts": 1, "cost": 0.5,
    }  # fmt: skip
    for name in (tool_id, "a/b", "a%2Fb", "registry:a/b"):
        assert (await api.send("viewer", "GET", f"/tools/{name}"))["tool"] == made["tool"]
    for query in (
        "q=letters",
        "kind=http",
        "side_effect=write",
        "",
        "category=T",
        "status=ENABLED&kind=http",
    ):
        found = await api.send("viewer", "GET", f"/tools?{query}&source=registry")
        assert ([one["name"] for one in found["tools"]], found["total"]) == (["a/b"], 1), query
    pages = [await api.send("viewer", "GET", f"/tools?kind=python&limit=4&skip={skip}") for skip in (0, 4, 8)]
    assert [len(page["tools"]) for page in pages] == [4, 2, 0]
    assert {page["total"] for page in pages} == {6}
    await api.send("viewer", "GET", "/tools?kind=none", expect=400)

    changed = await api.send("operator", "PUT", "/tools/a%2Fb", {"execution": None, "name": "c"})
    assert (changed["tool"]["execution"], changed["tool"]["description"]) == (None, "sends letters")
    await api.send("operator", "PUT", "/tools/python-double", {"description": "x"}, expect=409)
    await api.send("operator", "DELETE", "/tools/config:python-double", expect=409)
    await api.tool("c", expect=409)
    await api.send("operator", "DELETE", "/tools/c")
    await api.send("operator", "DELETE", f"/tools/{tool_id}", expect=404)


@pytest.mark.parametrize("path", ["/tools/", "/api/v1/tools"])
async def test_an_execution_is_checked_and_nothing_is_done_for_it(api: Api, path: str) -> None:
    async with stub_node((200, {})) as node:
        good = {"kind": "http", "binding": {"url": f"http://127.0.0.1:{node.port}/x"}}
        for number, (execution, field) in enumerate(
            (
                ({"kind": "magic"}, "execution.kind"),
                ({"kind": "builtin"}, None),
                ({**good, "attempts": 0}, "execution.attempts"),
                ({**good, "attempts": 11}, "execution.attempts"),
                ({**good, "timeout": 0}, "execution.timeout"),
                ({**good, "cost": -1}, "execution.cost"),
                ({**good, "side_effect": "none"}, "execution.side_effect"),
                ({**good, "approval": "maybe"}, "execution.approval"),
                ({**good, "retries": 1}, "execution.retries"),
                ({"kind": "http", "binding": {"url": "file:///etc/passwd"}}, "execution.binding"),
                ({"kind": "http", "binding": {"path": "/no-node"}}, "execution.binding"),
                ({"kind": "python", "binding": {"function": "os:system"}}, "execution.binding"),
            )
        ):
            body = {"name": f"t{number}", "category": "T", "execution": execution}
            answer = await api.client.post(path, json=body, headers=bearer("admin"))
            assert answer.status_code in (400, 422), (execution, answer.text)
            if path.startswith("/api") and field is not None:
                assert answer.json()["details"]["field"] == field
        for schema in ({"type": "nonsense"}, {"$ref": "https://example.com/other"}, {"properties": 5}):
            for field in ("input_schema", "output_schema"):
                body = {"name": "s", "category": "T", field: schema, "execution": good}
                answer = await api.client.post(path, json=body, headers=bearer("admin"))
                assert answer.status_code == 400, (schema, answer.text)
                assert field in answer.text
        described = {"name": "only described", "category": "T", "input_schema": {"type": "nonsense"}}
        answer = await api.client.post(path, json=described, headers=bearer("admin"))
        assert answer.status_code in (200, 201)
        row = answer.json().get("tool") or answer.json()
        assert row["execution"] is None
        change = {"execution": good}
        answer = await api.client.put(f"/tools/{row['tool_id']}", json=change, headers=bearer("admin"))
        assert answer.status_code == 400  # its schema is none
        answer = await api.client.put(
            f"/tools/{row['tool_id']}", json=change | {"input_schema": NUMBER}, headers=bearer("admin")
        )
        assert answer.json()["execution"]["kind"] == "http"
        assert node.requests == []


@pytest.mark.parametrize("path", ["/tools/", "/api/v1/tools"])
async def test_only_who_may_approve_says_that_nobody_needs_to(api: Api, path: str) -> None:
    python = {"kind": "python", "binding": {"function": "python-guarded"}}
    for number, (execution, granted) in enumerate(
        (
            (HTTP, True),
            (HTTP | {"approval": "always", "side_effect": "dangerous"}, True),
            (HTTP | {"approval": "never"}, False),
            (HTTP | {"side_effect": "read"}, False),
            (python, False),  # not dangerous, as it has it
            (python | {"side_effect": "dangerous"}, True),
        )
    ):
        body = {"name": f"t{number}", "category": "T", "execution": execution}
        statuses = [
            (await api.client.post(path, json=body | {"name": f"{who}{number}"}, headers=bearer(who))).status_code
            for who in ("operator", "admin")
        ]
        assert [status < 300 for status in statuses] == [granted, True], (execution, statuses)
        assert granted or statuses[0] == 403
    made = await api.tool("t", execution=HTTP | {"approval": "never"})
    change = {"execution": HTTP | {"approval": "never", "timeout": 5}}
    await api.send("operator", "PUT", f"/tools/{made['tool_id']}", change, expect=403)
    await api.send("operator", "PUT", f"/tools/{made['tool_id']}", {"description": "still"})


async def test_who_waits_for_a_call_does_not_hold_up_the_end_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, environ = python_tools(tmp_path)
    monkeypatch.setenv("PYTHONPATH", environ["PYTHONPATH"])
    async with (
        running_service(config, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=40) as client,
    ):
        api = Api(client)
        slow = await api.call("developer", "python-sleep", expect=202, arguments={"number": 4}, wait=0)
        path = f"/tool-calls/{slow['call_id']}?wait=30"
        waiting = asyncio.create_task(api.send("developer", "GET", path))
        await running.until(lambda: running.service.tool_calls.conduct.running == 1)
        await asyncio.sleep(0.3)  # until it waits, which nothing announces
        async with asyncio.timeout(10):
            running.service.stop()
            assert (await waiting)["call"]["state"] in ("RUNNING", "FAILED")
            await running.task
