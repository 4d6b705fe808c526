"""Requests as tools: what is sent for which arguments, and what becomes of the answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator.adapters.http1.pool import ConnectionPool
from orchestrator.domain.errors import Forbidden, InvalidRequest, NotFound, ToolCrashed, ToolFailed, ToolTimeout
from orchestrator.domain.http_hosts import HttpHosts
from orchestrator.domain.registry_node import RegistryNode, RegistryNodeType, RegistryStatus
from orchestrator.domain.tool import Execution, Tool, ToolKind
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.domain.worker_hosts import WorkerHosts
from orchestrator.services.egress import Egress
from orchestrator.services.tool_calls.hosts import ToolHosts
from orchestrator.services.tool_calls.http_tool import HttpSecret, HttpTool
from web_stub import Page, Sent, WebStub, web_stub


class Nodes:
    """A registry's list of nodes."""

    def __init__(self) -> None:
        self.nodes: dict[str, RegistryNode] = {}

    async def get(self, node_id: str) -> RegistryNode:
        if node_id not in self.nodes:
            raise NotFound(f"Node '{node_id}' not found")
        return self.nodes[node_id]


class Surroundings:
    """A runner, its nodes, and a clock that moves when it is told to."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.now = 1_000.0
        self.nodes = Nodes()
        self.hosts = ToolHosts(lambda: self.now)
        egress = Egress(pool, HttpHosts.of(["127.0.0.1"]), "tools.hosts")
        self.runner = HttpTool(egress, self.nodes, self.hosts, lambda: self.now)

    async def call(
        self, binding: dict[str, Any], arguments: dict[str, Any] | None = None, timeout: float = 5.0, node: str = "n"
    ) -> CallOutcome:
        order = CallOrder("call-7", tool(binding, node), arguments or {}, "me", 1, timeout)
        return await self.runner.run(order)


def tool(binding: dict[str, Any], node: str | None = "n") -> Tool:
    return Tool("t", "weather", "c", target_node_id=node, execution=Execution(ToolKind.HTTP, binding))


@pytest.fixture
async def around() -> AsyncIterator[Surroundings]:
    pool = ConnectionPool()
    yield Surroundings(pool)
    await pool.close()


def only(server: WebStub) -> Sent:
    (sent,) = server.sent
    return sent


JSON = Page(body=b'{"answer": {"list": [1, {"x": "y"}]}}')


async def test_arguments_are_json_and_so_is_the_answer(around: Surroundings) -> None:
    async with web_stub(JSON) as server:
        outcome = await around.call({"url": f"{server.url}/run"}, {"a": 1, "b": [True, None]})
        assert outcome.result == {"answer": {"list": [1, {"x": "y"}]}}
        sent = only(server)
        assert (sent.method, sent.path, json.loads(sent.body)) == ("POST", "/run", {"a": 1, "b": [True, None]})
        assert sent.headers["content-type"] == "application/json"
        assert sent.headers["idempotency-key"] == "call-7"


async def test_where_arguments_go(around: Surroundings) -> None:
    binding = {"path": "/cities/{city}/days/{day}?v=2", "method": "PUT", "query": ["units", "tags"], "body": "form"}
    async with web_stub(JSON) as server:
        around.nodes.nodes["n"] = node(server.url)
        given = {"city": "São Paulo/1", "day": 3, "units": "C&x=1", "tags": ["a", "b c"], "note": "é=ü", "no": None}
        await around.call(binding, given)
        sent = only(server)
        assert sent.path == "/cities/S%C3%A3o%20Paulo%2F1/days/3?v=2&units=C%26x%3D1&tags=a&tags=b+c"
        assert sent.body == b"note=%C3%A9%3D%C3%BC"
        assert sent.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_without_a_body_all_that_is_left_is_the_query(around: Surroundings) -> None:
    async with web_stub(JSON) as server:
        await around.call({"url": f"{server.url}/s/{{id}}", "method": "GET"}, {"id": "a", "q": "x y", "on": True})
        assert (only(server).path, only(server).body) == ("/s/a?q=x+y&on=true", b"")


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [("text é", "text é".encode(), "text/plain; charset=utf-8"), ({"a": 1}, b'{"a":1}', "application/json")],
)
async def test_one_argument_may_be_the_body(around: Surroundings, value: Any, body: bytes, kind: str) -> None:
    async with web_stub(JSON) as server:
        await around.call({"url": server.url, "body": "document"}, {"document": value, "other": 1})
        assert (only(server).body, only(server).headers["content-type"]) == (body, kind)


@pytest.mark.parametrize(("pointer", "found"), [("/answer/list/1/x", "y"), ("/answer/list/0", 1), ("", None)])
async def test_a_part_of_the_answer(around: Surroundings, pointer: str, found: Any) -> None:
    async with web_stub(JSON) as server:
        outcome = await around.call({"url": server.url, "result": pointer})
        assert outcome.result == (found if pointer else json.loads(JSON.body))
        with pytest.raises(ToolFailed, match="nothing at"):
            await around.call({"url": server.url, "result": "/answer/list/01"})


async def test_text_and_files(around: Surroundings) -> None:
    page = Page(body=b"\x89PNG", headers={"Content-Type": "image/png; x=y"})
    async with web_stub(page) as server:
        binding = {"url": f"{server.url}/maps/..%2Fworld map.png".replace(" ", "%20"), "method": "GET"}
        outcome = await around.call({**binding, "response": "binary"})
        assert outcome.result == {"status": 200, "mime_type": "image/png", "bytes": 4}
        (file,) = outcome.files
        assert (file.file_name, file.mime_type, file.content) == ("world_map.png", "image/png", b"\x89PNG")
        assert (await around.call({**binding, "response": "text"})).result == "�PNG"


async def test_an_empty_answer_is_nothing(around: Surroundings) -> None:
    async with web_stub(Page(204)) as server:
        assert (await around.call({"url": server.url})).result is None


async def test_an_answer_that_is_not_json(around: Surroundings) -> None:
    async with web_stub(Page(body=b"<html>" + b"[" * 100_000)) as server:
        with pytest.raises(ToolFailed, match="not JSON: <html>"):
            await around.call({"url": server.url})


async def test_the_servers_no_is_the_tools(around: Surroundings) -> None:
    async with web_stub(Page(404, b"no such\r\n\x1b[31m city")) as server:
        with pytest.raises(ToolFailed, match=r"HTTP 404: no such \[31m city") as caught:
            await around.call({"url": server.url})
        assert caught.value.details == {"status": 404}
        with pytest.raises(ToolFailed):
            await around.call({"url": server.url, "ok": [200]})
        assert (await around.call({"url": server.url, "ok": [404], "response": "text"})).result.startswith("no such")


async def test_a_redirect_is_no_success(around: Surroundings) -> None:
    async with web_stub(Page(302, headers={"Location": "/x"})) as server:
        with pytest.raises(ToolFailed, match="HTTP 302"):
            await around.call({"url": server.url})
        assert len(server.sent) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_what_may_pass_can_be_tried_again(around: Surroundings, status: int) -> None:
    async with web_stub(Page(status, b"busy", headers={"Retry-After": "7"})) as server:
        with pytest.raises(ToolCrashed, match=f"HTTP {status}: busy") as caught:
            await around.call({"url": server.url})
        assert caught.value.retry_after == 7.0


async def test_a_server_that_hangs_breaks_off_or_is_not_there(around: Surroundings) -> None:
    def answer(sent: Sent) -> Page | None:
        return None if sent.path == "/hang" else Page(body=b"x" * 10, cut=True)

    async with web_stub(answer) as server:
        with pytest.raises(ToolTimeout):
            await around.call({"url": f"{server.url}/hang"}, timeout=0.1)
        with pytest.raises(ToolCrashed, match="middle of its answer"):
            await around.call({"url": server.url})
    with pytest.raises(ToolCrashed):
        await around.call({"url": "http://127.0.0.1:1/"})


async def test_a_server_that_keeps_failing_is_left_alone_for_a_while(
    around: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    pages = {"/": Page(500)}
    async with web_stub(lambda sent: pages["/"]) as server:
        for _ in range(20):
            with pytest.raises(ToolCrashed):
                await around.call({"url": server.url})
        seen = len(server.sent)
        assert seen < 20
        with pytest.raises(ToolCrashed, match="failed too often lately") as caught:
            await around.call({"url": server.url})
        assert caught.value.retry_after is not None
        (told,) = [one for one in caplog.records if one.message == "tool_host_changed"]
        assert (told.__dict__["host"], told.__dict__["state"]) == (f"127.0.0.1:{server.port}", "open")
        (shown,) = around.hosts.all()
        assert (shown.node, shown.state) == (f"127.0.0.1:{server.port}", "open")
        pages["/"] = JSON
        around.now += 3_600
        assert [one.state for one in around.hosts.all()] == ["half_open"]
        assert (await around.call({"url": server.url})).result is not None


async def test_a_no_does_not_open_the_breaker(around: Surroundings) -> None:
    async with web_stub(Page(404)) as server:
        for _ in range(30):
            with pytest.raises(ToolFailed):
                await around.call({"url": server.url})
        assert len(server.sent) == 30


def node(address: str, status: RegistryStatus = RegistryStatus.ACTIVE) -> RegistryNode:
    return RegistryNode("n", RegistryNodeType.TOOL_EXECUTOR, address, status, "n")


async def test_a_tool_on_a_node(around: Surroundings) -> None:
    async with web_stub(JSON) as server:
        for address in (server.url, f"{server.url}/base/", f"127.0.0.1:{server.port}"):
            around.nodes.nodes["n"] = node(address)
            await around.call({"path": "/run", "method": "GET"})
        assert [sent.path for sent in server.sent] == ["/run", "/base/run", "/run"]


@pytest.mark.parametrize("status", [one for one in RegistryStatus if one is not RegistryStatus.ACTIVE])
async def test_a_node_that_is_not_active_gets_no_call(around: Surroundings, status: RegistryStatus) -> None:
    async with web_stub(JSON) as server:
        around.nodes.nodes["n"] = node(server.url, status)
        with pytest.raises(ToolCrashed, match=status.value):
            await around.call({"path": "/run"})
        assert not server.sent


@pytest.mark.parametrize(
    "address",
    [
        "pull:n",
        "http://169.254.169.254",
        "10.0.0.1:80",
        "http://user@127.0.0.1",
        "ftp://127.0.0.1",
        "http://127.0.0.1/?a=",
        "http://127.0.0.1/#",
        "2130706433",
        "",
    ],
)
async def test_an_address_of_a_node_is_judged_like_any_url(around: Surroundings, address: str) -> None:
    around.nodes.nodes["n"] = node(address)
    with pytest.raises(InvalidRequest):
        await around.call({"path": "/run"})


async def test_a_node_that_is_gone(around: Surroundings) -> None:
    with pytest.raises(ToolCrashed, match="gone"):
        await around.call({"path": "/run"})


async def test_a_secret_goes_only_to_its_hosts(around: Surroundings) -> None:
    async with web_stub(JSON) as server:
        binding = {"url": server.url, "headers": {"Authorization": "Bearer secret:KEY", "IDEMPOTENCY-KEY": "mine"}}
        with pytest.raises(InvalidRequest, match="no secret 'KEY'"):
            await around.call(binding)
        around.runner.secrets = {"KEY": HttpSecret("hush", WorkerHosts.of(["api.example.com", "10.0.0.0/8"]))}
        with pytest.raises(Forbidden, match="may not go to"):
            await around.call(binding)
        assert not server.sent
        around.runner.secrets = {"KEY": HttpSecret("hush", WorkerHosts.of(["127.0.0.1"]))}
        await around.call(binding)
        assert only(server).headers["authorization"] == "Bearer hush"
        assert only(server).headers["idempotency-key"] == "call-7"
        assert "hush" not in repr(around.runner.secrets)
        around.runner.secrets = {"KEY": HttpSecret("hu\r\nsh", WorkerHosts.of(["127.0.0.1"]))}
        with pytest.raises(InvalidRequest) as caught:
            await around.call(binding)
        assert "hu" not in caught.value.message.replace("authorization", "")


@pytest.mark.parametrize("value", [
    "..", ".", "", "a/../b", "../x", "..\\x", "%2e%2e", "%252e%252e", "..%2fx", "%2e.", "a\r\nHost: evil", "a\0",
    "\x1b", "%00", None, [1], {"a": 1},
])  # fmt: skip
async def test_an_argument_cannot_leave_its_segment(around: Surroundings, value: Any) -> None:
    async with web_stub(JSON) as server:
        with pytest.raises(InvalidRequest, match="arguments"):
            await around.call({"url": f"{server.url}/a/{{x}}/b", "method": "GET"}, {"x": value})
        with pytest.raises(InvalidRequest, match="arguments"):
            await around.call({"url": f"{server.url}/a/.{{x}}", "method": "GET"}, {"x": value if value else "."})
        assert not server.connections


@pytest.mark.parametrize(("value", "written"), [
    ("a/b", "a%2Fb"), ("?q=1#f", "%3Fq%3D1%23f"), ("@evil.test:80", "%40evil.test%3A80"), ("a b", "a%20b"),
    (1.5, "1.5"), ("100%", "100%25"), ("...", "..."), ("//evil.test/x", "%2F%2Fevil.test%2Fx"),
    (";a=b&c", "%3Ba%3Db%26c"),
])  # fmt: skip
async def test_an_argument_stays_in_its_segment(around: Surroundings, value: Any, written: str) -> None:
    async with web_stub(JSON) as server:
        await around.call({"url": f"{server.url}/a/{{x}}/b", "method": "GET"}, {"x": value})
        assert only(server).path == f"/a/{written}/b"


@pytest.mark.parametrize("binding", [
    {},
    {"url": "http://h/", "path": "/x"},
    {"path": "x"},
    {"path": "//evil.test/"},
    {"path": "/a/../b"},
    {"path": "/a/%2e%2E/b"},
    {"path": "/a b"},
    {"path": "/a\r\nX: y"},
    {"path": "/a#b"},
    {"path": "/a?x={y}"},
    {"path": "/a/{b c}"},
    {"path": "/a/{"},
    {"url": "http://{host}/"},
    {"url": "{scheme}://h/"},
    {"url": "http://h:{port}/"},
    {"url": "ftp://h/"},
    {"url": "file:///etc/passwd"},
    {"url": "http://user:pass@h/"},
    {"url": "http://2130706433/"},
    {"url": "http://0x7f.1/"},
    {"url": "http://h/", "method": "TRACE"},
    {"url": "http://h/", "method": "GET / HTTP/1.1\r\n"},
    {"url": "http://h/", "headers": {"Host": "x"}},
    {"url": "http://h/", "headers": {"X": "a\nb"}},
    {"url": "http://h/", "response": "xml"},
    {"url": "http://h/", "ok": [99]},
    {"url": "http://h/", "result": "a"},
    {"url": "http://h/", "result": "/a", "response": "text"},
    {"url": "http://h/", "redirects": 5},
    {"url": ["http://h/"]},
])  # fmt: skip
def test_a_binding_that_cannot_be_is_refused(around: Surroundings, binding: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"execution\.binding"):
        around.runner.check(tool(binding))


def test_a_path_needs_a_node(around: Surroundings) -> None:
    around.runner.check(tool({"path": "/x/{y}"}))
    with pytest.raises(InvalidRequest, match="target_node_id"):
        around.runner.check(tool({"path": "/x"}, node=None))
