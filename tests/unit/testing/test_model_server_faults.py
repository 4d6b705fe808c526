"""Each fault, byte by byte, in each dialect."""

from __future__ import annotations

import json
from typing import Any, cast

import httpx2
import pytest
import uvloop
from raw_connection import Connect, Raw

from orchestrator.domain.errors import ConfigurationError
from orchestrator.testing.model_server import ModelServer

MESSAGES = [{"role": "user", "content": "one two three four"}]
STREAMS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "demo", "messages": MESSAGES, "stream": True},
    "/v1/messages": {"model": "demo", "messages": MESSAGES, "stream": True, "max_tokens": 50},
    "/api/chat": {"model": "demo", "messages": MESSAGES},
}
TERMINAL = {
    "/v1/chat/completions": b"data: [DONE]",
    "/v1/messages": b"message_stop",
    "/api/chat": b'"done":true',
}
LAST_CHUNK = b"\r\n0\r\n\r\n"
every_dialect = pytest.mark.parametrize("path", list(STREAMS))
WHOLE = {"model": "demo", "messages": MESSAGES, "stream": False, "max_tokens": 50}


def texts(body: bytes) -> str:
    """The words of the echo that `body` holds."""
    return "".join(word for word in ("echo:", " one", " two", " three", " four") if word.encode() + b'"' in body)


@every_dialect
async def test_without_a_fault_the_stream_ends_with_its_marker(path: str, connect: Connect) -> None:
    raw = await connect()
    raw.post(path, STREAMS[path])

    status, headers, body = await raw.answer()

    assert (status, texts(body)) == (200, "echo: one two three four")
    assert TERMINAL[path] in body
    assert headers["content-type"].startswith("application/x-ndjson" if path == "/api/chat" else "text/event-stream")


@every_dialect
async def test_cut_resets_the_connection_after_the_tokens(path: str, server: ModelServer, connect: Connect) -> None:
    server.mode("cut", after=3)
    raw = await connect()
    raw.post(path, STREAMS[path])

    got, end = await raw.to_end()

    assert end == "rst"
    assert texts(got) == "echo: one two"
    assert LAST_CHUNK not in got
    await server.wait_for(lambda seen: seen.in_flight == 0)
    assert (server.requests[-1].tokens, server.requests[-1].mode, server.disconnects) == (3, "cut", 0)


@every_dialect
async def test_cut_after_no_token_still_sends_the_head(path: str, server: ModelServer, connect: Connect) -> None:
    server.mode("cut", after=0)
    raw = await connect()
    raw.post(path, STREAMS[path])

    got, end = await raw.to_end()

    assert (end, texts(got)) == ("rst", "")
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")


@every_dialect
async def test_half_close_ends_without_the_last_chunk(path: str, server: ModelServer, connect: Connect) -> None:
    server.mode("half_close", after=1)
    raw = await connect()
    raw.post(path, STREAMS[path])

    got, end = await raw.to_end()

    assert (end, texts(got)) == ("fin", "echo:")
    assert LAST_CHUNK not in got
    assert server.state()["connections"] == 1


@every_dialect
async def test_eof_is_a_clean_end_without_the_marker(path: str, server: ModelServer, connect: Connect) -> None:
    server.mode("eof", after=99)
    raw = await connect()
    raw.post(path, STREAMS[path])

    _, _, body = await raw.answer()

    assert texts(body) == "echo: one two three four"
    assert TERMINAL[path] not in body


@every_dialect
async def test_hang_mid_goes_on_when_released(path: str, server: ModelServer, connect: Connect) -> None:
    server.mode("hang_mid", after=2)
    raw = await connect()
    raw.post(path, STREAMS[path])
    await server.wait_for(lambda seen: seen.hanging == 1)
    assert server.requests[-1].tokens == 2

    assert server.release() == 1
    _, _, body = await raw.answer()

    assert TERMINAL[path] in body
    assert texts(body) == "echo: one two three four"


@every_dialect
async def test_hang_sends_nothing_and_a_client_that_leaves_is_noticed(
    path: str, server: ModelServer, connect: Connect
) -> None:
    server.mode("hang")
    raw = await connect()
    raw.post(path, STREAMS[path])
    await server.wait_for(lambda seen: seen.hanging == 1)

    raw.close()
    await server.wait_for(lambda seen: seen.disconnects == 1)

    record = server.requests[-1]
    assert (record.disconnected, record.bytes_sent, record.status, server.in_flight) == (True, 0, 0, 0)
    assert server.hanging == 0


async def test_a_hang_with_a_limit_ends_by_itself(server: ModelServer, client: httpx2.AsyncClient) -> None:
    server.mode("hang", ms=20)

    answer = await client.post("/api/chat", json=WHOLE)

    record = server.requests[-1]
    assert answer.status_code == 200
    assert record.first_byte_at is not None
    assert record.first_byte_at - record.started_at >= 0.02


@every_dialect
async def test_malformed_has_one_broken_frame(path: str, server: ModelServer, connect: Connect) -> None:
    server.mode("malformed", after=1)
    raw = await connect()
    raw.post(path, STREAMS[path])

    _, _, body = await raw.answer()

    broken = 0
    for line in body.splitlines():
        text = line.removeprefix(b"data: ")
        if text.startswith(b"{"):
            try:
                json.loads(text)
            except json.JSONDecodeError:
                broken += 1
    assert broken == 1
    assert TERMINAL[path] in body


@every_dialect
async def test_huge_line(path: str, server: ModelServer, connect: Connect) -> None:
    server.mode("huge_line", megabytes=3)
    raw = await connect()
    raw.post(path, STREAMS[path])

    _, _, body = await raw.answer()

    assert max(map(len, body.splitlines())) > 3 * 1024 * 1024
    assert TERMINAL[path] in body


@pytest.mark.parametrize(
    ("path", "frame"),
    [
        ("/v1/chat/completions", b'data: {"error":{"message":"boom","type":"server_error"'),
        ("/v1/messages", b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"boom"}'),
        ("/api/chat", b'{"error":"boom"}\n'),
    ],
)
async def test_error_midway_is_the_dialects_own(path: str, frame: bytes, server: ModelServer, connect: Connect) -> None:
    server.mode("sse_error_midway", after=2, message="boom")
    raw = await connect()
    raw.post(path, STREAMS[path])

    status, _, body = await raw.answer()

    assert (status, texts(body)) == (200, "echo: one")
    assert frame in body
    assert TERMINAL[path] not in body


@every_dialect
async def test_split_utf8_cuts_chunks_inside_characters(path: str, server: ModelServer, connect: Connect) -> None:
    server.mode("split_utf8")
    raw = await connect()
    raw.post(path, STREAMS[path])
    await raw.until(b"\r\n\r\n")

    chunks = await raw.chunks()

    def is_cut(chunk: bytes) -> bool:
        try:
            chunk.decode()
        except UnicodeDecodeError:
            return True
        return False

    assert sum(map(is_cut, chunks)) >= 8
    assert "世界" in b"".join(chunks).decode()
    assert TERMINAL[path] in b"".join(chunks)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/v1/chat/completions", '"usage"'),
        ("/v1/messages", '"usage"'),
        ("/v1/completions", '"usage"'),
        ("/v1/embeddings", '"usage"'),
        ("/api/chat", "eval_count"),
        ("/api/generate", "eval_count"),
        ("/api/embed", "prompt_eval_count"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_no_usage(path: str, word: str, stream: bool, server: ModelServer, client: httpx2.AsyncClient) -> None:
    body = {**WHOLE, "prompt": "x", "input": "x", "stream": stream, "stream_options": {"include_usage": True}}
    with_usage = (await client.post(path, json=body)).text
    server.mode("no_usage")

    without = (await client.post(path, json=body)).text

    assert word in with_usage
    assert word not in without
    assert "injected" not in without


async def test_status_with_body_and_headers(server: ModelServer, client: httpx2.AsyncClient) -> None:
    server.mode("status", status=429, headers={"retry-after": "7"}, times=1)
    server.mode("status", status=418, body={"odd": True}, times=1)
    server.mode("status", status=502, body="<html>bad gateway</html>", times=1)

    answers = [await client.post("/v1/messages", json=WHOLE) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [429, 418, 502, 200]
    assert answers[0].headers["retry-after"] == "7"
    assert answers[0].json()["error"]["type"] == "rate_limit_error"
    assert answers[1].json() == {"odd": True}
    assert answers[2].text == "<html>bad gateway</html>"
    assert server.state()["by_status"] == {"429": 1, "418": 1, "502": 1, "200": 1}


async def test_error_body_200(server: ModelServer, client: httpx2.AsyncClient) -> None:
    server.mode("error_body_200", message="out of memory")

    answer = await client.post("/v1/chat/completions", json={**WHOLE, "stream": True})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["error"]["message"] == "out of memory"


async def test_flaky_is_reproducible_and_near_its_share(server: ModelServer, client: httpx2.AsyncClient) -> None:
    runs = []
    for _ in range(2):
        server.mode("flaky", percent=30, seed=5, status=503)
        runs.append([(await client.post("/api/chat", json=WHOLE)).status_code for _ in range(100)])

    assert runs[0] == runs[1]
    assert 20 <= runs[0].count(503) <= 40


async def test_flaky_with_another_fault(server: ModelServer, client: httpx2.AsyncClient) -> None:
    server.mode("flaky", percent=100, fault={"kind": "reset"})

    with pytest.raises(httpx2.TransportError):
        await client.post("/api/chat", json=WHOLE)


@pytest.mark.parametrize(("kind", "end"), [("reset", "rst"), ("close", "fin")])
async def test_a_connection_that_ends_before_any_byte(
    kind: Any, end: str, server: ModelServer, connect: Connect
) -> None:
    server.mode(kind)
    raw = await connect()
    raw.post("/api/chat", WHOLE)

    assert await raw.to_end() == (b"", end)


@pytest.mark.parametrize("kind", ["cut", "half_close", "eof", "malformed"])
async def test_faults_of_whole_answers(kind: Any, server: ModelServer, connect: Connect) -> None:
    server.mode(kind)
    raw = await connect()
    raw.post("/v1/chat/completions", WHOLE, "connection: close")

    got, end = await raw.to_end()

    head, _, body = got.partition(b"\r\n\r\n")
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    assert end == ("rst" if kind == "cut" else "fin")
    assert (len(body) == length) is (kind in ("eof", "malformed"))


async def test_slow_and_status_then_slow(server: ModelServer, client: httpx2.AsyncClient) -> None:
    server.mode("status_then_slow", count=2, status=503, ms=30)

    answers = [(await client.post("/api/chat", json=WHOLE)).status_code for _ in range(3)]

    record = server.requests[-1]
    assert answers == [503, 503, 200]
    assert record.first_byte_at is not None
    assert record.first_byte_at - record.started_at >= 0.03


@pytest.mark.parametrize(("fails", "expected"), [("health", (500, 500, 200)), ("inference", (200, 200, 500))])
async def test_wrong_health(
    fails: str, expected: tuple[int, ...], server: ModelServer, client: httpx2.AsyncClient
) -> None:
    server.mode("wrong_health", fails=fails)

    tags, models = await client.get("/api/tags"), await client.get("/v1/models")
    chat = await client.post("/api/chat", json=WHOLE)

    assert (tags.status_code, models.status_code, chat.status_code) == expected


async def test_selectors(server: ModelServer, client: httpx2.AsyncClient) -> None:
    server.mode("status", status=500)
    server.mode("status", status=501, path="/v1/*")
    server.mode("status", status=502, model="llama3:8b")
    server.mode("status", status=503, model="llama3:8b", path="/v1/messages")
    server.mode("ok", path="/api/generate")
    other = {**WHOLE, "model": "llama3:8b"}

    async def status(path: str, body: dict[str, Any]) -> int:
        return (await client.post(path, json=body)).status_code

    assert await status("/api/chat", WHOLE) == 500
    assert await status("/v1/chat/completions", WHOLE) == 501
    assert await status("/api/chat", other) == 502
    assert await status("/v1/messages", other) == 503
    assert await status("/api/generate", {"model": "demo", "prompt": "x"}) == 200
    assert (await client.get("/api/tags")).status_code == 200
    server.mode("status", routes="all")
    assert (await client.get("/api/tags")).status_code == 500


def test_a_mode_that_does_not_exist_is_refused() -> None:
    server, kind = ModelServer(), cast(Any, "explode")

    with pytest.raises(ConfigurationError, match="kind"):
        server.mode(kind)
    with pytest.raises(ConfigurationError, match="aftr"):
        server.mode("cut", aftr=3)


def test_connections_end_the_same_way_on_uvloop() -> None:
    async def ends() -> dict[str, tuple[str, str]]:
        seen = {}
        async with ModelServer() as server:
            for kind in ("reset", "close", "cut", "half_close", "eof", "ok"):
                server.mode(cast(Any, kind))
                raw = Raw()
                await raw.connect(server.host, server.port)
                raw.post("/api/chat", STREAMS["/api/chat"], "connection: close")
                got, end = await raw.to_end()
                raw.close()
                seen[kind] = (end, texts(got))
        return seen

    assert uvloop.run(ends()) == {
        "reset": ("rst", ""),
        "close": ("fin", ""),
        "cut": ("rst", "echo: one"),
        "half_close": ("fin", "echo: one"),
        "eof": ("fin", "echo: one"),
        "ok": ("fin", "echo: one two three four"),
    }
