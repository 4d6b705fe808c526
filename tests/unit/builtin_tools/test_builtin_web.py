"""The tools `http-client`, `web-search` and `headless-browser`, against a web server of the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from builtin_calls import Caller

from orchestrator.adapters.http1.pool import ConnectionPool
from orchestrator.domain.errors import (
    Conflict,
    InvalidRequest,
    NotAvailable,
    RateLimited,
    ToolCrashed,
    ToolFailed,
    ToolTimeout,
)
from orchestrator.domain.http_hosts import HttpHosts
from orchestrator.domain.tool_call import CallOrder
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.web import HeadlessBrowser, HttpClient, WebSearch
from orchestrator.services.builtin_tools.web.search import Searches, own_host
from orchestrator.services.egress import Egress
from web_stub import Page, Sent, web_stub

HTML = """<!doctype html><html><head><title>Ropes &amp; Lamps</title><base href="/shop/">
<meta name="description" content="We sell"><style>p {color: red}</style></head>
<body><h1>Welcome</h1><p>Two <b>words</b></p><script>var hidden = "secret words"</script>
<a href="rope.html">A <i>rope</i></a> <a href="mailto:x@y.org">mail</a> <a href="javascript:alert(1)">no</a>
<img src="lamp.png" alt="A lamp"><noscript>no script</noscript></body></html>"""
FOUND = """<html><body><div class="result"><h2><a class="result__a"
href="//duckduckgo.com/l/?uddg=https%3A%2F%2Frope.example%2Fa%3Fb%3D1&amp;rut=x">Rope &amp; <b>lamp</b></a></h2>
<a class="result__snippet" href="x">All about <b>rope</b></a></div>
<div class="result result--ad"><a class="result__a" href="https://duckduckgo.com/y.js?ad=1">Buy</a></div>
<div class="result"><a class="result__a" href="https://lamp.example/">Lamp</a></div></body></html>"""


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    found = ConnectionPool()
    yield found
    await found.close()


@pytest.fixture
def egress(pool: ConnectionPool) -> Egress:
    return Egress(pool, HttpHosts.of(["127.0.0.1"]), "tools.hosts")


@pytest.fixture
def client(egress: Egress) -> Caller:
    return Caller(HttpClient(egress))


class Now:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def browser(egress: Egress, apart: Apart, now: Now) -> Caller:
    search = WebSearch(Searches(egress), apart)
    return Caller(HeadlessBrowser(egress, apart, search, now))


def echoed(sent: Sent) -> Page:
    said = {"method": sent.method, "path": sent.path, "body": sent.body.decode(), "headers": dict(sent.headers)}
    return Page(body=json.dumps(said).encode(), headers={"Content-Type": "application/json"})


async def test_requests(client: Caller) -> None:
    async with web_stub(echoed) as server:
        found = await client(url=f"{server.url}/ä b?x=1", params={"q": "a&b", "n": [1, 2], "t": True, "z": None})
        assert (found["status"], found["status_code"], found["success"]) == (200, 200, True)
        assert found["response"]["path"] == "/%C3%A4%20b?x=1&q=a%26b&n=1&n=2&t=true"
        assert found["elapsed"] > 0
        sent = (await client(url=server.url, method="post", json={"a": 1}, headers={"X-Mine": "1"}))["json"]
        assert (sent["method"], sent["body"], sent["headers"]["content-type"]) == (
            "POST",
            '{"a": 1}',
            "application/json",
        )
        assert sent["headers"]["x-mine"] == "1"
        assert (await client(url=server.url, method="PUT", body="plain"))["json"]["body"] == "plain"
        with pytest.raises(InvalidRequest, match="only one"):
            await client(url=server.url, json={}, body="x")
        for name in ("Host", "Content-Length", "Transfer-Encoding", "X\r\nY", ""):
            with pytest.raises(InvalidRequest):
                await client(url=server.url, headers={name: "x"})
        with pytest.raises(InvalidRequest):
            await client(url=server.url, headers={"X": "a\r\nHost: evil"})


async def test_any_answer_is_a_result(client: Caller) -> None:
    async with web_stub(Page(status=404, body=b"nothing here")) as server:
        found = await client(url=server.url)
        assert (found["status"], found["success"], found["response"], found["json"]) == (
            404,
            False,
            "nothing here",
            None,
        )
    async with web_stub(Page(body=b"\xff\x00")) as server:
        found = await client(url=server.url)
        assert (found["text"], found["base64"]) == (None, "/wA=")
    async with web_stub(Page(body=b"half", cut=True)) as server:
        with pytest.raises(ToolCrashed, match="127"):
            await client(url=server.url)
    async with web_stub(lambda _sent: None) as server:
        with pytest.raises(ToolTimeout, match=r"within 0\.3 s"):
            await client(url=server.url, timeout=0.3)


OUTSIDE = (
    "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/",
    "http://[::ffff:127.0.0.2]/", "http://2130706434/", "http://0x7f.0.0.2/", "http://127.1.1.1/", "http://0.0.0.0/",
    "file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "http://user:pw@127.0.0.1/", "//127.0.0.1/", "",
    "http://", "http://127.0.0.1:99999/", "http://[::", "javascript:alert(1)", "http://\u2488\u2488/",
)  # fmt: skip


@pytest.mark.parametrize("url", OUTSIDE)
async def test_what_is_not_allowed_is_refused(client: Caller, browser: Caller, url: str) -> None:
    for caller, arguments in ((client, {}), (browser, {"action": "scrape"}), (browser, {"action": "verify"})):
        order = CallOrder("call", caller.tool.tool, {"url": url, **arguments}, "anna", 1, 30.0)
        with pytest.raises(InvalidRequest):
            await caller.tool.run(order)


async def test_redirects_are_judged_anew(client: Caller, browser: Caller) -> None:
    async with web_stub(Page(body=b"inner secrets"), host="127.0.0.2") as inner:

        def answer(sent: Sent) -> Page:
            if sent.path == "/good":
                return Page(status=302, headers={"Location": "/end"})
            if sent.path == "/bad":
                return Page(status=302, headers={"Location": f"http://127.0.0.2:{inner.port}/"})
            if sent.path == "/file":
                return Page(status=302, headers={"Location": "file:///etc/passwd"})
            if sent.path == "/round":
                return Page(status=302, headers={"Location": "/round"})
            return Page(body=b"the end", headers={"Content-Type": "text/plain"})

        async with web_stub(answer) as server:
            found = await client(url=f"{server.url}/good")
            assert (found["text"], found["url"]) == ("the end", f"{server.url}/end")
            assert (await client(url=f"{server.url}/good", follow_redirects=False))["status"] == 302
            assert (await client(url=f"{server.url}/round"))["status"] == 302
            assert (await browser(url=f"{server.url}/good"))["text"] == "the end"
            for path in ("/bad", "/file"):
                with pytest.raises(InvalidRequest):
                    await client(url=server.url + path)
                for action in ("scrape", "verify"):
                    with pytest.raises(InvalidRequest):
                        await browser(action=action, url=server.url + path)
        assert inner.sent == []


async def test_scrape(browser: Caller, now: Now) -> None:
    async with web_stub(Page(body=HTML.encode(), headers={"Content-Type": "text/html; charset=utf-8"})) as server:
        found = await browser(action="scrape", url=f"{server.url}/a/b")
        assert (found["title"], found["status_code"], found["cached"]) == ("Ropes & Lamps", 200, False)
        assert found["text"] == found["content"] == "Welcome\nTwo words\nA rope mail no"
        assert found["word_count"] == 7
        assert found["links"] == [{"url": f"{server.url}/shop/rope.html", "text": "A rope"}]
        assert found["images"] == [{"url": f"{server.url}/shop/lamp.png", "alt": "A lamp"}]
        assert found["metadata"] == {"description": "We sell"}
        assert (await browser(url=f"{server.url}/a/b"))["cached"] is True
        now.now += 400
        assert (await browser(url=f"{server.url}/a/b"))["cached"] is False
        assert len(server.sent) == 2
    latin = Page(body="<p>äöü".encode("latin-1"), headers={"Content-Type": "text/html; charset=iso-8859-1"})
    async with web_stub(latin) as server:
        assert (await browser(url=server.url))["text"] == "äöü"
    async with web_stub(Page(body=b"\x89PNG", headers={"Content-Type": "image/png"})) as server:
        with pytest.raises(ToolFailed, match="image/png"):
            await browser(url=server.url)


async def test_verify(browser: Caller) -> None:
    def answer(sent: Sent) -> Page:
        return Page(status=405 if sent.method == "HEAD" else 200, headers={"Content-Type": "text/html"})

    async with web_stub(answer) as server:
        found = await browser(action="verify", url=server.url)
        assert (found["accessible"], found["status_code"], found["content_type"]) == (True, 200, "text/html")
        port = server.port
    found = await browser(action="verify", url=f"http://127.0.0.1:{port}/")
    assert (found["accessible"], found["status_code"]) == (False, None)
    assert "127.0.0.1" in found["error"]


async def test_thirty_requests_a_minute(browser: Caller, now: Now) -> None:
    async with web_stub(Page(body=b"<p>x", headers={"Content-Type": "text/html"})) as server:
        for number in range(30):
            await browser(action="verify", url=f"{server.url}/{number}")
        with pytest.raises(RateLimited) as caught:
            await browser(action="verify", url=server.url)
        assert caught.value.retry_after == pytest.approx(60.0)
        await replace(browser, principal="bert")(action="verify", url=server.url)
        now.now += 61
        await browser(action="verify", url=server.url)


@pytest.mark.parametrize("action", ["scrape_js", "navigate", "screenshot", "click", "execute_js"])
async def test_what_needs_scripts_says_so(browser: Caller, action: str) -> None:
    with pytest.raises(NotAvailable, match=action):
        await browser(action=action, url="http://127.0.0.1/")


async def test_a_page_that_takes_for_ever_is_given_up(egress: Egress, apart: Apart) -> None:
    browser = Caller(HeadlessBrowser(egress, apart, WebSearch(Searches(egress), apart), patience=2.0))
    page = Page(body=b"<div>" * 800_000, headers={"Content-Type": "text/html"})
    async with web_stub(page) as server:
        with pytest.raises(ToolFailed, match="could not be read"):
            await browser(url=server.url)


async def test_search_at_searxng(pool: ConnectionPool, apart: Apart) -> None:
    told = {
        "results": [
            {"title": "Rope", "url": "https://rope.example/", "content": "About", "engine": "bing", "score": 1.5},
            {"title": "Lamp", "url": "https://lamp.example/", "publishedDate": "2026-01-02"},
        ]
    }
    nowhere = Egress(pool, HttpHosts.of([]), "tools.hosts")
    async with web_stub(Page(body=json.dumps(told).encode())) as server:
        own = Egress(pool, own_host(server.url), "tools.search_url")
        search = Caller(WebSearch(Searches(nowhere, server.url, own), apart, lambda: 0.0))
        found = await search(query="rope & lamp", backend="bing")
        assert server.sent[0].path == "/search?q=rope+%26+lamp&format=json&engines=bing"
        assert found["results"][0] == {
            "title": "Rope", "url": "https://rope.example/", "snippet": "About", "source": "bing", "relevance": 1.5,
            "date": None, "rank": 1,
        }  # fmt: skip
        assert (found["total_results"], found["backend"], found["timestamp"]) == (
            2,
            "bing",
            "1970-01-01T00:00:00+00:00",
        )
        assert (await search(query="rope", max_results=1))["total_results"] == 1
        assert server.sent[1].path == "/search?q=rope&format=json"
    for page in (Page(body=b"<html>"), Page(status=403), Page(body=b'{"results": [], "unresponsive_engines": ["x"]}')):
        async with web_stub(page) as server:
            own = Egress(pool, own_host(server.url), "tools.search_url")
            with pytest.raises(ToolFailed):
                await Caller(WebSearch(Searches(nowhere, server.url, own), apart))(query="x")


async def test_search_at_duckduckgo(egress: Egress, pool: ConnectionPool, apart: Apart) -> None:
    async with web_stub(Page(body=FOUND.encode())) as server:
        search = Caller(WebSearch(Searches(egress, duckduckgo=f"{server.url}/html/"), apart))
        found = await search(query="rope")
        assert [(one["title"], one["url"], one["snippet"]) for one in found["results"]] == [
            ("Rope & lamp", "https://rope.example/a?b=1", "All about rope"),
            ("Lamp", "https://lamp.example/", ""),
        ]
        with pytest.raises(Conflict, match=r"tools\.search_url"):
            await search(query="rope", backend="google")
    challenge = b"<div class='anomaly-modal'>Select all squares</div>"
    async with web_stub(Page(body=challenge)) as server:
        search = Caller(WebSearch(Searches(egress, duckduckgo=server.url), apart))
        with pytest.raises(ToolFailed, match="person"):
            await search(query="rope")
    # Offline, or not allowed, is an error, never an empty list.
    with pytest.raises(ToolCrashed):
        await search(query="rope")
    closed = Caller(WebSearch(Searches(Egress(pool, HttpHosts.of([]), "tools.hosts")), apart))
    with pytest.raises(InvalidRequest, match=r"tools\.hosts"):
        await closed(query="rope")
