"""The one way out: which URLs are read, where connections go, what a redirect may do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable

import pytest

from orchestrator.adapters.http1.pool import ConnectionPool
from orchestrator.domain.errors import ConnectFailed, InvalidRequest, MalformedAnswer, UpstreamTimeout
from orchestrator.domain.http_hosts import HttpHosts
from orchestrator.services.egress import Egress
from web_stub import Page, Sent, web_stub


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    found = ConnectionPool()
    yield found
    await found.close()


class Names:
    """A name service whose answers change: each look-up takes the next."""

    def __init__(self, *answers: Iterable[str]) -> None:
        self.answers = [list(one) for one in answers]
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def egress(pool: ConnectionPool, *hosts: str, names: Names | None = None) -> Egress:
    rule = HttpHosts.of(hosts)
    return Egress(pool, rule, "tools.hosts", names) if names is not None else Egress(pool, rule, "tools.hosts")


async def test_a_connection_goes_to_the_address_that_was_judged(pool: ConnectionPool) -> None:
    """The second answer of the name service would be the network's own machine; nobody asks twice."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with web_stub(Page(body=b"hello")) as server:
        way = egress(pool, "127.0.0.1", names=names)
        answer = await way.fetch("GET", f"http://example.test:{server.port}/a?b=c", timeout=5)
        assert (answer.status, answer.body, answer.url) == (200, b"hello", f"http://example.test:{server.port}/a?b=c")
        assert names.asked == ["example.test"]
        assert server.sent[0].path == "/a?b=c"
        assert server.sent[0].headers["host"] == f"example.test:{server.port}"
        assert server.sent[0].headers["accept-encoding"] == "identity"


async def test_each_request_is_judged_anew_on_a_connection_of_its_own(pool: ConnectionPool) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with web_stub(Page()) as server:
        way = egress(pool, "127.0.0.1", names=names)
        await way.fetch("GET", f"http://example.test:{server.port}/", timeout=5)
        with pytest.raises(InvalidRequest, match=r"tools\.hosts"):
            await way.fetch("GET", f"http://example.test:{server.port}/", timeout=5)
        way.hosts = HttpHosts.of(["127.0.0.1"])
        await way.fetch("GET", f"{server.url}/", timeout=5)
        assert server.connections == 2


async def test_of_several_addresses_the_first_that_is_allowed_counts(pool: ConnectionPool) -> None:
    async with web_stub(Page()) as server:
        way = egress(pool, "127.0.0.1", names=Names(["10.0.0.1", "169.254.169.254", "127.0.0.1"]))
        target, _ = await way.target(f"http://example.test:{server.port}/")
        assert (target.host, target.name) == ("127.0.0.1", "example.test")


async def test_without_hosts_nothing_is_looked_up(pool: ConnectionPool) -> None:
    names = Names(["127.0.0.1"])
    with pytest.raises(InvalidRequest, match="no hosts"):
        await egress(pool, names=names).fetch("GET", "http://example.test/", timeout=5)
    assert names.asked == []


async def test_redirects_are_not_followed_by_themselves(pool: ConnectionPool) -> None:
    async with web_stub(Page(302, headers={"Location": "/other"})) as server:
        answer = await egress(pool, "127.0.0.1").fetch("GET", f"{server.url}/", timeout=5)
        assert answer.status == 302
        assert len(server.sent) == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:80/",
        "http://[::ffff:10.0.0.1]/",
        "http://2130706433/",
        "//10.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/",
        "http://user@127.0.0.1/",
        "http://exa\tmple/",
        "http://[/",
        "http://[::1/",
    ],
)
async def test_a_redirect_is_judged_like_any_url(pool: ConnectionPool, location: str) -> None:
    async with web_stub(Page(302, headers={"Location": location})) as server:
        with pytest.raises(InvalidRequest, match="url:"):
            await egress(pool, "127.0.0.1").fetch("GET", f"{server.url}/", timeout=5, redirects=5)
        assert len(server.sent) == 1


async def test_a_redirect_to_a_name_that_leads_elsewhere_now_is_refused(pool: ConnectionPool) -> None:
    names = Names(["127.0.0.1"], ["192.168.0.1"])
    async with web_stub(lambda sent: Page(302, headers={"Location": "/again"})) as server:
        way = egress(pool, "127.0.0.1", names=names)
        with pytest.raises(InvalidRequest, match=r"tools\.hosts"):
            await way.fetch("GET", f"http://example.test:{server.port}/", timeout=5, redirects=5)
        assert len(server.sent) == 1


@pytest.mark.parametrize(("status", "method", "then"), [
    (301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"), (308, "PUT", "PUT"),
    (302, "HEAD", "HEAD"), (302, "DELETE", "DELETE"),
])  # fmt: skip
async def test_what_becomes_of_the_method(pool: ConnectionPool, status: int, method: str, then: str) -> None:
    def answer(sent: Sent) -> Page:
        return Page(status, headers={"Location": "/next"}) if sent.path == "/" else Page()

    async with web_stub(answer) as server:
        body = b"content" if method in ("POST", "PUT") else b""
        found = await egress(pool, "127.0.0.1").fetch(method, f"{server.url}/", body=body, timeout=5, redirects=1)
        assert (found.status, found.url) == (200, f"{server.url}/next")
        assert server.sent[1].method == then
        assert server.sent[1].body == (body if then == method else b"")


async def test_a_credential_does_not_go_to_another_origin(pool: ConnectionPool) -> None:
    async with (
        web_stub(Page(body=b"there")) as other,
        web_stub(Page(307, headers={"Location": f"http://127.0.0.1:{other.port}/"})) as server,
    ):
        headers = {"Authorization": "Bearer key", "X-Api-Key": "key", "Cookie": "a=b", "Accept": "text/plain"}
        way = egress(pool, "127.0.0.1")
        await way.fetch("GET", f"{server.url}/", headers=headers, timeout=5, redirects=1)
        assert server.sent[0].headers["authorization"] == "Bearer key"
        assert set(other.sent[0].headers) == {"host", "accept", "accept-encoding"}


async def test_redirects_without_end_are_counted(pool: ConnectionPool) -> None:
    async with web_stub(lambda sent: Page(302, headers={"Location": f"{sent.path}x"})) as server:
        answer = await egress(pool, "127.0.0.1").fetch("GET", f"{server.url}/", timeout=5, redirects=1000)
        assert answer.status == 302
        assert len(server.sent) == 6


async def test_time_and_size_are_bounded(pool: ConnectionPool) -> None:
    async with web_stub(lambda sent: None if sent.path == "/slow" else Page(body=b"x" * 2000)) as server:
        way, begun = egress(pool, "127.0.0.1"), time.monotonic()
        with pytest.raises(UpstreamTimeout):
            await way.fetch("GET", f"{server.url}/slow", timeout=0.1)
        assert time.monotonic() - begun < 3
        with pytest.raises(MalformedAnswer):
            await way.fetch("GET", f"{server.url}/", timeout=5, max_body=1000)


async def test_a_name_service_that_hangs_is_part_of_the_time(pool: ConnectionPool) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    way = Egress(pool, HttpHosts.of(["127.0.0.1"]), "tools.hosts", never)
    with pytest.raises(UpstreamTimeout):
        await way.fetch("GET", "http://example.test/", timeout=0.1)


async def test_a_packed_answer_stays_packed(pool: ConnectionPool) -> None:
    packed = b"\x1f\x8b" + b"\0" * 100
    async with web_stub(Page(body=packed, headers={"Content-Encoding": "gzip"})) as server:
        assert (await egress(pool, "127.0.0.1").fetch("GET", f"{server.url}/", timeout=5)).body == packed


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nEvil: 1"},
        {"X": "a\nEvil: 1"},
        {"X\r\nEvil": "1"},
        {"X:": "1"},
        {"": "1"},
        {"X Y": "1"},
        {"Host": "other"},
        {"content-LENGTH": "0"},
        {"Transfer-Encoding": "chunked"},
        {"X": "a\0b"},
        {"X": "é"},
    ],
)
async def test_no_header_can_end_its_line_or_frame_the_request(pool: ConnectionPool, headers: dict[str, str]) -> None:
    async with web_stub(Page()) as server:
        with pytest.raises(InvalidRequest, match="headers:"):
            await egress(pool, "127.0.0.1").fetch("GET", f"{server.url}/", headers=headers, timeout=5)
        assert not server.connections


async def test_a_method_is_one_word(pool: ConnectionPool) -> None:
    with pytest.raises(InvalidRequest, match="method:"):
        await egress(pool, "127.0.0.1").fetch("GET / HTTP/1.1\r\nX: ", "http://127.0.0.1:1/", timeout=5)


async def test_nobody_there_is_told(pool: ConnectionPool) -> None:
    with pytest.raises(ConnectFailed):
        await egress(pool, "127.0.0.1").fetch("GET", "http://127.0.0.1:1/", timeout=5)
    with pytest.raises(ConnectFailed, match="no-such-name"):
        await egress(pool, "*.invalid").fetch("GET", "http://no-such-name.invalid/", timeout=20)
