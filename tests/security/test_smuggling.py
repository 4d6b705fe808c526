"""Requests that two parsers may read differently are one request here, or none; and nothing a client or a node says
becomes a header of somebody else's message."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from fleet_under_test import ANTHROPIC, FORMS, OLLAMA, OPENAI, PLANES, Form, Wire, fleet, request
from orchestrator.testing.model_server import ModelServer
from scripted_node import ScriptedNode, whole

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)

LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
GOOD = b'{"model":"demo","messages":[{"role":"user","content":"honest"}]}'
INNER = request(OPENAI.path, OPENAI.body("smuggled", stream=False))
CHUNKED_BODY = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)


def head(*lines: bytes, line: bytes = LINE) -> bytes:
    return line + HOST + b"".join(one + b"\r\n" for one in lines) + b"\r\n"


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


OUTER = GOOD + INNER
CORPUS = {
    "CL.TE": head(length(CHUNKED_BODY + INNER), b"Transfer-Encoding: chunked") + CHUNKED_BODY + INNER,
    "TE.CL": head(b"Transfer-Encoding: chunked", b"Content-Length: 4")
    + b"%x\r\n" % len(INNER)
    + INNER
    + b"\r\n0\r\n\r\n",
    "two lengths": head(length(OUTER), length(GOOD)) + OUTER,
    "two lengths, the other way": head(length(GOOD), length(OUTER)) + OUTER,
    "two lengths apart": head(length(GOOD), b"X: y", length(OUTER)) + OUTER,
    "lengths in a list": head(b"Content-Length: %d, %d" % (len(GOOD), len(OUTER))) + OUTER,
    "length with a plus": head(b"Content-Length: +%d" % len(GOOD)) + OUTER,
    "negative length": head(b"Content-Length: -1") + OUTER,
    "hexadecimal length": head(b"Content-Length: 0x%x" % len(GOOD)) + OUTER,
    "length with an underscore": head(b"Content-Length: 6_4") + OUTER,
    "length of 30 digits": head(b"Content-Length: " + b"9" * 30) + OUTER,
    "length that wraps": head(b"Content-Length: 18446744073709551680") + OUTER,
    "length with a blank inside": head(b"Content-Length: 6 4") + OUTER,
    "length with a vertical tab": head(b"Content-Length: \x0b64") + OUTER,
    "empty length": head(b"Content-Length:") + OUTER,
    "unknown coding": head(b"Transfer-Encoding: xchunked", length(GOOD)) + OUTER,
    "coding with a blank before the colon": head(b"Transfer-Encoding : chunked", length(OUTER)) + CHUNKED_BODY + INNER,
    "length with a blank before the colon": head(b"Content-Length : %d" % len(GOOD)) + OUTER,
    "coding after a folded line": head(b"X: y", b" Transfer-Encoding: chunked", length(GOOD)) + OUTER,
    "folded coding": head(b"Transfer-Encoding:", b" chunked", length(GOOD)) + OUTER,
    "folded length": head(b"Content-Length:", b" %d" % len(GOOD)) + OUTER,
    "coding twice": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + CHUNKED_BODY + INNER,
    "coding and more": head(b"Transfer-Encoding: chunked, identity", length(GOOD)) + OUTER,
    "coding with a control character": head(b"Transfer-Encoding: \x0bchunked", length(GOOD)) + OUTER,
    "coding behind a bare line feed": head(b"X: y\nTransfer-Encoding: chunked", length(GOOD)) + OUTER,
    "coding behind a bare carriage return": head(b"X: y\rTransfer-Encoding: chunked", length(GOOD)) + OUTER,
    "NUL in a value": head(b"X: a\0b", length(GOOD)) + OUTER,
    "NUL in a name": head(b"X\0: a", length(GOOD)) + OUTER,
    "blank in a name": head(b"X Y: a", length(GOOD)) + OUTER,
    "no colon": head(b"Nothing", length(GOOD)) + OUTER,
    "no name": head(b": value", length(GOOD)) + OUTER,
    "first line folded": LINE + b" X: y\r\n" + HOST + length(GOOD) + b"\r\n\r\n" + OUTER,
    "request line with more": head(length(GOOD), line=LINE.replace(b"1.1", b"1.1 HTTP/1.0")) + OUTER,
    "tab in the request line": head(length(GOOD), line=LINE.replace(b" HTTP", b"\tHTTP")) + OUTER,
    "bare line feeds": (head(b"Content-Length: %d" % len(GOOD)).replace(b"\r\n", b"\n")) + OUTER,
    "chunk size with a sign": head(b"Transfer-Encoding: chunked") + b"+" + CHUNKED_BODY + INNER,
    "chunk size with a prefix": head(b"Transfer-Encoding: chunked") + b"0x" + CHUNKED_BODY + INNER,
    "chunk size with a bare line feed": head(b"Transfer-Encoding: chunked")
    + CHUNKED_BODY.replace(b"\r\n", b"\n", 1)
    + INNER,
    "chunk extension with a bare line feed": head(b"Transfer-Encoding: chunked")
    + CHUNKED_BODY.replace(b"\r\n", b";a\nb\r\n", 1)
    + INNER,
    "chunk longer than its size": head(b"Transfer-Encoding: chunked") + b"5\r\n" + CHUNKED_BODY + INNER,
    "chunk size that wraps": head(b"Transfer-Encoding: chunked") + b"10000000000000005\r\nhello\r\n0\r\n\r\n" + INNER,
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + INNER,
}


@every_plane
async def test_what_parsers_read_differently_is_never_two_requests(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for name, payload in CORPUS.items():
            async with Wire(tried.address) as wire:
                await wire.send(payload)
                told = await wire.to_end(timeout=5)

            assert len(re.findall(rb"HTTP/1\.1 \d{3} ", told)) == 1, (name, told)
            assert re.match(rb"HTTP/1\.1 4\d\d ", told), (name, told)
            for one in tried.nodes["a"].requests:
                assert b"smuggled" not in (one.raw or b""), name
            assert not tried.inference("a"), name
        assert (await tried.post(OPENAI)).status_code == 200
        await tried.settled()


@every_plane
async def test_a_body_that_looks_like_a_request_is_a_body(plane: str, tmp_path: Path) -> None:
    text = INNER.decode()
    async with fleet(tmp_path, ["a"], plane=plane) as tried, Wire(tried.address) as wire:
        for form in FORMS:
            await wire.send(request(form.path, form.body(text, stream=False)))
            assert (await wire.answer())[0] == 200
        chunked_body = request(OPENAI.path, OPENAI.body(text, stream=False)).partition(b"\r\n\r\n")[2]
        await wire.send(
            head(b"Transfer-Encoding: chunked")
            + b"%x;ext=1\r\n%b\r\n0\r\nX-T: 1\r\n\r\n" % (len(chunked_body), chunked_body)
        )
        assert (await wire.answer())[0] == 200
        assert len(tried.inference("a")) == 4


THREE = (
    b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    + request(OPENAI.path, OPENAI.body("first", stream=False))
    + request(OLLAMA.path, OLLAMA.body("second", stream=True))
    + request(ANTHROPIC.path, ANTHROPIC.body("third", stream=False))
)


async def three_answers(wire: Wire) -> None:
    assert (await wire.answer())[2] == b'{"status":"ok"}'
    for text in (b"first", b"second", b"third"):
        status, _, body = await wire.answer()
        assert status == 200
        assert text in body.replace(b'"},"done":false}', b"")
        assert not any(other in body for other in (b"first", b"second", b"third") if other != text)


@every_plane
async def test_pipelined_requests_are_answered_in_turn_however_they_are_cut(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:

        async def cut_at(places: Any) -> None:
            for place in places:
                async with Wire(tried.address) as wire:
                    await wire.send(THREE[:place])
                    for _ in range(3):
                        await asyncio.sleep(0)
                    await wire.send(THREE[place:])
                    await three_answers(wire)

        places = iter(range(1, len(THREE)))
        await asyncio.gather(*(cut_at(places) for _ in range(4)))
        assert len(tried.inference("a")) == 3 * (len(THREE) - 1) or len(tried.nodes["a"].requests) == 1000


@every_plane
async def test_pipelined_requests_byte_by_byte(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried, Wire(tried.address) as wire:
        for at in range(len(THREE)):
            await wire.send(THREE[at : at + 1])
            await asyncio.sleep(0)
        await three_answers(wire)


@every_plane
async def test_a_flood_of_pipelined_requests_is_served_in_order(plane: str, tmp_path: Path) -> None:
    """More than is kept at once, arriving while the first are under way."""
    async with fleet(tmp_path, ["a"], plane=plane) as tried, Wire(tried.address) as wire:
        tried.nodes["a"].mode(ttft_ms=1.0)
        bodies = [OPENAI.body(f"number {turn} " + "x" * 700, stream=turn % 2 == 0) for turn in range(300)]
        sending = asyncio.create_task(wire.send(b"".join(request(OPENAI.path, body) for body in bodies)))
        for turn in range(300):
            status, _, body = await wire.answer()
            assert status == 200
            said = b"".join(re.findall(rb'"content":"([^"]*)"', body))
            assert f"number {turn} ".encode() in said
        await sending


# Header injection

ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}\Z")


@every_plane
async def test_a_request_id_is_echoed_only_when_it_is_harmless(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for given in (b"abc-123", b"a.b:c/d+e=f", b"x" * 128):
            answer = await tried.post(OPENAI, headers=[("X-Request-Id", given)])
            assert answer.headers["x-request-id"] == given.decode()
            assert tried.received("a")[-1].headers["x-request-id"] == given.decode()
        for given in (b"a b", b"x" * 129, b"\xc3\xa9", b"<script>", b'"', b"a\tb", b"${jndi}", b"%0d%0aX: y"):
            answer = await tried.post(OPENAI, headers=[("X-Request-Id", given)])
            assert answer.status_code == 200
            assert ID.match(answer.headers["x-request-id"]), given
            assert answer.headers["x-request-id"] != given.decode("latin-1")
            assert ID.match(tried.received("a")[-1].headers["x-request-id"])


NAMES = [
    "demo\r\nX-Evil: 1",
    "demo\nX-Evil: 1",
    "demo\0",
    "demo\u2028",
    "demo\x7f",
    "../../etc/passwd",
    "demo\u202e",
    "x" * 5000,
]


@every_plane
@every_form
async def test_a_models_name_becomes_no_header(form: Form, plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for name in NAMES:
            for suffix in ("", "?debug=true"):
                answer = await tried.post(form, query=suffix, model=name)
                assert answer.status_code in (400, 404), name
                assert "x-evil" not in answer.headers
                assert form.error(answer.json())
                assert len(answer.content) < 4000
        assert not tried.inference("a")


REFUSALS = {
    "bare line feed": b"Retry-After: 5\nSet-Cookie: evil=1",
    "bare carriage return": b"Retry-After: 5\rSet-Cookie: evil=1",
    "line feed in the type": b"X: y\nContent-Type: text/html",
    "folded": b"Retry-After: 5\r\n Set-Cookie: evil=1",
}


@every_plane
@pytest.mark.parametrize("line", REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_nodes_header_cannot_split_our_answer(line: bytes, plane: str, tmp_path: Path) -> None:
    node = ScriptedNode(whole(b'{"error":"no"}', line, status=b"400 Bad Request"))
    async with fleet(tmp_path, {"a": node}, kinds={"a": "openai"}, plane=plane) as tried, Wire(tried.address) as wire:
        await wire.send(request(OPENAI.path, OPENAI.body(stream=False), "Connection: close"))
        told = await wire.to_end()

        got, _, _ = told.partition(b"\r\n\r\n")
        assert b"evil" not in got.lower()
        assert got.count(b"\n") == got.count(b"\r\n") == got.count(b"\r")


@every_plane
async def test_more_bytes_than_the_answer_poison_no_later_one(plane: str, tmp_path: Path) -> None:
    """A node that appends an answer to its answer: the next request must not get it."""
    node = ScriptedNode(whole(b'{"mine":1}') + whole(b'{"poison":1}'))
    async with fleet(tmp_path, {"a": node}, kinds={"a": "openai"}, plane=plane) as tried:
        for _ in range(5):
            assert b"poison" not in (await tried.post(OPENAI)).content


SECRETS = {
    "Authorization": "Bearer sk-client-secret",
    "X-API-Key": "client-secret",
    "Cookie": "session=client-secret",
    "Proxy-Authorization": "Basic client-secret",
    "X-Forwarded-For": "1.2.3.4",
    "X-Goog-Api-Key": "client-secret",
}


@every_plane
@every_form
@pytest.mark.parametrize("own_key", [None, "sk-the-nodes-own-key-0123"])
async def test_a_clients_credentials_never_reach_a_node(
    own_key: str | None, form: Form, plane: str, tmp_path: Path
) -> None:
    node = ModelServer(dialects=["openai"])
    entry: dict[str, Any] = {"id": "a", "url": "", "kind": "openai"}
    async with node:
        entry["url"] = node.url
        if own_key:
            entry["api_key"] = own_key
        async with fleet(tmp_path, {}, plane=plane, config={"nodes": [entry]}) as tried:
            await tried.running.healthy(1)
            for stream in (False, True):
                for query in ("", "?debug=true"):
                    answer = await tried.post(form, stream=stream, headers=SECRETS, query=query)
                    assert answer.status_code == 200
                    assert "client-secret" not in str(answer.headers)
            seen = [one.headers for one in node.requests if one.method == "POST"]
            assert len(seen) == 4
            for headers in seen:
                assert "client-secret" not in str(headers)
                assert "cookie" not in headers
                assert headers.get("authorization") == (f"Bearer {own_key}" if own_key else None)
                assert headers["x-forwarded-for"] == "127.0.0.1"


async def test_wanted_headers_of_a_client_reach_the_node_unchanged(tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], kinds={"a": "anthropic"}) as tried:
        beta = {"anthropic-beta": "tools-2026", "anthropic-version": "2023-06-01", "traceparent": "00-" + "a" * 32}
        assert (await tried.post(ANTHROPIC, headers=beta)).status_code == 200
        got = tried.nodes["a"].requests[-1].headers
        assert got["anthropic-beta"] == "tools-2026"
        assert got["anthropic-version"] == "2023-06-01"
        assert got.get("host") == f"127.0.0.1:{tried.nodes['a'].port}"
