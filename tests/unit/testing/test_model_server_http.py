"""HTTP/1.1 as clients and proxies really send it."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest
from raw_connection import Connect

from orchestrator.testing.model_server import ModelServer

BODY = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": False}


async def test_keep_alive_and_pipelining_answer_in_order(server: ModelServer, connect: Connect) -> None:
    server.mode("slow", ms=20, times=1)
    raw = await connect()
    for word in ("first", "second", "third"):
        raw.post("/api/generate", {"model": "demo", "prompt": word, "stream": False})

    answers = [json.loads((await raw.answer())[2])["response"] for _ in range(3)]

    assert answers == ["echo: first", "echo: second", "echo: third"]
    assert server.state()["connections"] == 1


async def test_hundreds_of_pipelined_requests_are_all_answered(server: ModelServer, connect: Connect) -> None:
    server.mode("slow", ms=1)
    raw = await connect()
    for number in range(300):
        raw.post("/api/generate", {"model": "demo", "prompt": f"n{number}", "stream": False})

    answers = [json.loads((await raw.answer())[2])["response"] for _ in range(300)]

    assert answers == [f"echo: n{number}" for number in range(300)]


async def test_chunked_request_body(server: ModelServer, connect: Connect) -> None:
    raw = await connect()
    data = json.dumps(BODY).encode()
    raw.send(b"POST /api/chat HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n")
    for start in range(0, len(data), 7):
        piece = data[start : start + 7]
        raw.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    raw.send(b"0\r\n\r\n")

    status, _, body = await raw.answer()

    assert (status, json.loads(body)["message"]["content"]) == (200, "echo: hi")
    assert server.requests[-1].raw == data


async def test_bytes_one_at_a_time(server: ModelServer, connect: Connect) -> None:
    raw = await connect()
    data = json.dumps(BODY).encode()
    for byte in b"POST /api/chat HTTP/1.1\r\nhost: t\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data):
        raw.send(bytes([byte]))

    assert (await raw.answer())[0] == 200


async def test_expect_100_continue(connect: Connect) -> None:
    raw = await connect()
    data = json.dumps(BODY).encode()
    head = f"POST /api/chat HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: {len(data)}\r\n\r\n"
    raw.send(head.encode())
    assert await raw.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.send(data)

    assert (await raw.answer())[0] == 200


async def test_http_1_0_streams_until_the_end_of_the_connection(connect: Connect) -> None:
    raw = await connect()
    data = json.dumps({**BODY, "stream": True}).encode()
    raw.send(b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data))

    got, end = await raw.to_end()

    head, _, body = got.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body.startswith(b"data: {")
    assert (body.endswith(b"data: [DONE]\n\n"), end) == (True, "fin")


async def test_connection_close_is_honoured(connect: Connect) -> None:
    raw = await connect()
    raw.post("/api/chat", BODY, "connection: close")

    got, end = await raw.to_end()

    assert b"connection: close\r\n" in got
    assert end == "fin"


async def test_bytes_that_are_no_http_get_400(connect: Connect) -> None:
    raw = await connect()
    raw.send(b"\x16\x03\x01 this is TLS\r\n\r\n")

    got, end = await raw.to_end()

    assert got.startswith(b"HTTP/1.1 400 ")
    assert end == "fin"


async def test_an_upgrade_is_answered_as_plain_http_and_closed(connect: Connect) -> None:
    raw = await connect()
    raw.send(b"GET /api/version HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")

    got, end = await raw.to_end()

    assert got.startswith(b"HTTP/1.1 200 OK")
    assert end == "fin"


async def test_a_large_prompt_arrives_whole(server: ModelServer, client: httpx2.AsyncClient) -> None:
    prompt = "word " * 4_000_000

    answer = await client.post("/api/generate", json={"model": "demo", "prompt": prompt, "stream": False})

    assert answer.json()["prompt_eval_count"] == 4_000_001
    assert server.requests[-1].size > 20_000_000
    assert len(answer.content) < 200_000


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/nowhere", b"", 404),
        ("DELETE", "/v1/chat/completions", b"", 404),
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/chat/completions", b'{"model":"demo"}', 400),
        ("POST", "/v1/chat/completions", b'{"model":"demo","messages":[1]}', 400),
        ("POST", "/v1/chat/completions", b'{"messages":[]}', 400),
        ("POST", "/v1/messages", b'{"model":"demo","messages":[{"role":"user","content":"x"}]}', 400),
        ("POST", "/v1/embeddings", b'{"model":"demo"}', 400),
        ("POST", "/v1/responses", b'{"model":"demo","input":7}', 400),
        ("POST", "/api/chat", b'{"model":"demo","keep_alive":"soon"}', 400),
        ("POST", "/api/generate", b'{"model":"demo","prompt":7}', 400),
        ("POST", "/api/embed", b'{"model":"demo","input":7}', 400),
        ("POST", "/v1/chat/completions", b"[" * 100_000, 400),
        ("POST", "/v1/chat/completions", b'{"model":"demo","messages":[{"role":"user"}],"tools":7}', 400),
        ("POST", "/v1/chat/completions", b'{"model":"demo","messages":[{"role":"user"}],"stop":7}', 400),
        ("POST", "/v1/chat/completions", b'{"model":"demo","messages":[{"role":"user"}],"max_tokens":0}', 400),
        ("POST", "/v1/messages", b'{"model":"demo","max_tokens":9,"messages":[{"role":"user"}],"tools":["x"]}', 400),
        ("POST", "/api/chat", b'{"model":"demo","messages":[{"role":"user"}],"options":7}', 400),
        ("POST", "/api/chat", b'{"model":"demo","messages":7}', 400),
        ("POST", "/api/embed", b'{"model":"demo","input":"x","dimensions":1000001}', 400),
    ],
)
async def test_bad_requests(
    method: str, path: str, content: bytes, status: int, server: ModelServer, client: httpx2.AsyncClient
) -> None:
    answer = await client.request(method, path, content=content)

    assert server.in_flight == 0
    assert answer.status_code == status
    assert len(answer.content) > 10


async def test_a_slow_reader_holds_back_its_own_stream_only(server: ModelServer, connect: Connect) -> None:
    slow, quick = await connect(), await connect()
    server.mode("huge_line", megabytes=40, times=1)
    slow.post("/api/chat", BODY | {"stream": True})
    await server.wait_for(lambda seen: seen.in_flight == 1)

    quick.post("/api/chat", BODY)
    assert (await quick.answer())[0] == 200

    assert server.requests[0].bytes_sent < 40 * 1024 * 1024
    slow.abort()
    await server.wait_for(lambda seen: seen.disconnects == 1)


async def test_tokens_come_at_their_pace(server: ModelServer, connect: Connect) -> None:
    server.settings.ttft_ms, server.settings.tokens_per_second = 30, 100
    raw = await connect()
    raw.post("/api/generate", {"model": "demo", "prompt": "a b c d"})

    arrived = []
    for word in (b"HTTP/1.1 200", b'" a"', b'" b"', b'" c"', b'" d"'):
        await raw.until(word)
        arrived.append(asyncio.get_running_loop().time() - server.requests[0].started_at)

    assert arrived[0] >= 0.03
    assert [at >= 0.03 + 0.01 * number for number, at in enumerate(arrived)] == [True] * 5


async def test_a_client_that_leaves_between_tokens_is_noticed_at_once(server: ModelServer, connect: Connect) -> None:
    server.mode("ok", tokens=10_000, tokens_per_second=200)
    raw = await connect()
    raw.post("/v1/chat/completions", BODY | {"stream": True})
    await server.wait_for(lambda seen: bool(seen.requests) and seen.requests[-1].tokens >= 3)

    raw.abort()
    left = asyncio.get_running_loop().time()
    await server.wait_for(lambda seen: seen.disconnects == 1)

    record = server.requests[-1]
    assert record.finished_at is not None
    assert record.finished_at - left < 1
    assert (record.disconnected, record.status) == (True, 200)
    assert record.tokens < 1000
