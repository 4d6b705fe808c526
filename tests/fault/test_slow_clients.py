"""Clients that read slowly, send slowly or do nothing: they cost little, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fleet_under_test import FORMS, OPENAI, PLANES, Form, Wire, fleet, request
from orchestrator.testing.model_server import ModelServer
from scripted_node import ScriptedNode, chunked

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
PIECE = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 60_000)
PIECES = 600  # 36 MB
LAST = b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def talkative() -> ScriptedNode:
    return ScriptedNode(*chunked(*[PIECE] * PIECES, LAST))


def in_the_kernel(*ports: int) -> int:
    """Bytes that wait in the queues of connections with these ports of this machine, at either end."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, _, queues = line.split()[1:5]
        if {int(local.partition(":")[2], 16), int(remote.partition(":")[2], 16)} & set(ports):
            found += sum(int(queue, 16) for queue in queues.split(":"))
    return found


async def held_back(node: ScriptedNode) -> int:
    """Pieces that a node got rid of, once it gets rid of no more."""
    sent, same = -1, 0
    async with asyncio.timeout(15):
        while same < 5:
            await asyncio.sleep(0.05)
            same = same + 1 if node.sent == sent else 0
            sent = node.sent
    return sent


@every_plane
@every_form
async def test_a_slow_reader_holds_back_its_own_stream_and_no_other(form: Form, plane: str, tmp_path: Path) -> None:
    node = talkative()
    nodes: dict[str, Any] = {"a": node, "b": ModelServer(models=["other"], dialects=["openai"])}
    async with fleet(tmp_path, nodes, plane=plane, kinds={"a": "openai", "b": "openai"}) as tried:
        before = resident()
        async with Wire(tried.address, receive_buffer=8192) as slow:
            await slow.send(request(form.path, form.body(stream=True)))

            sent = await held_back(node)

            # The kernel's buffers may grow to most of the stream; ours do not.
            kept = sent - in_the_kernel(urlsplit(node.url).port or 0, tried.address[1]) // len(PIECE)
            assert sent > 0
            assert kept < PIECES // 20
            assert resident() - before < 12 << 20
            started = time.monotonic()
            for other in FORMS:
                assert (await tried.stream(other, model="other")).ended == 1
            assert time.monotonic() - started < 1.0

            status, _, body = await slow.answer()  # and then it reads after all

            assert status == 200
            assert body.count(b"x" * 60_000) == PIECES
        await tried.settled()
        assert tried.last.outcome == "ok"


@every_plane
async def test_a_slow_reader_is_not_the_nodes_fault(plane: str, tmp_path: Path) -> None:
    """Its time runs out while it reads nothing: the slot is freed, no breaker hears of it."""
    config = {"gateway": {"timeout": 1.5}}
    nodes: dict[str, Any] = {"a": talkative()}
    async with (
        fleet(tmp_path, nodes, kinds={"a": "openai"}, plane=plane, config=config) as tried,
        Wire(tried.address, receive_buffer=8192) as slow,
    ):
        await slow.send(request(OPENAI.path, OPENAI.body(stream=True)))
        await tried.running.until(lambda: tried.in_flight == 1)

        await tried.settled()

        assert tried.last.outcome == "error"
        assert tried.breaker("a", "demo").failure_total == 0


@every_plane
async def test_a_clients_own_deadline_is_not_the_nodes_fault(plane: str, tmp_path: Path) -> None:
    """Otherwise one caller with `X-Request-Timeout: 1` closes a model off for everybody."""
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        tried.nodes["a"].mode("slow", ms=1000)
        for _ in range(8):
            answer = await tried.post(OPENAI, headers={"X-Request-Timeout": "20"})
            assert answer.status_code == 504
        tried.nodes["a"].mode()

        assert tried.breaker("a").failure_total == 0
        assert (await tried.post(OPENAI)).status_code == 200


@every_plane
async def test_five_thousand_idle_connections(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        assert (await tried.post(OPENAI)).status_code == 200
        before = resident()
        idle = [Wire(tried.address) for _ in range(5000)]
        for start in range(0, 5000, 250):
            await asyncio.gather(*(wire.__aenter__() for wire in idle[start : start + 250]))
        used = idle[::50]
        for wire in used:
            await wire.send(request(OPENAI.path, OPENAI.body(stream=True)))
            assert (await wire.answer())[0] == 200

        started = time.monotonic()
        assert (await tried.post(OPENAI)).status_code == 200
        assert time.monotonic() - started < 0.5
        assert (resident() - before) / 5000 < 16_000  # both ends are in this process
        for wire in idle:
            wire.socket.close()
        await tried.settled()


LORIS = {
    "request line": b"POST /v1/chat/comple",
    "head": b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "head of the control plane": b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "nothing": b"",
}


@every_plane
@pytest.mark.parametrize("start", LORIS.values(), ids=LORIS.keys())
async def test_a_head_that_never_ends_is_given_up(start: bytes, plane: str, tmp_path: Path) -> None:
    config = {"server": {"header_timeout": 0.5, "keep_alive": 1}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config) as tried, Wire(tried.address) as wire:
        await wire.send(start)

        async def drip() -> None:
            while start:
                await asyncio.sleep(0.1)
                await wire.send(b"x")

        dripping = asyncio.create_task(drip())
        try:
            await wire.to_end(timeout=5)
        finally:
            dripping.cancel()
            await asyncio.gather(dripping, return_exceptions=True)


@every_plane
@pytest.mark.parametrize("head", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_body_that_stops_coming_is_given_up(head: str, plane: str, tmp_path: Path) -> None:
    config = {"server": {"header_timeout": 0.5}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config) as tried, Wire(tried.address) as wire:
        await wire.send(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n3\r\n".encode())

        told = await wire.to_end(timeout=5)

        assert not told or told.startswith(b"HTTP/1.1 40")
        assert not tried.inference("a")


@every_plane
@pytest.mark.parametrize("query", ["", "?debug=true"])
@pytest.mark.parametrize("coding", ["length", "chunked"])
async def test_a_body_that_keeps_coming_may_take_its_time(coding: str, query: str, plane: str, tmp_path: Path) -> None:
    """Longer than the time for a head altogether, never longer at once: a large prompt on a thin line."""
    body = json.dumps(OPENAI.body(stream=False)).encode() + b" " * 400
    pieces = [body[at : at + 50] for at in range(0, len(body), 50)]
    head = f"Content-Length: {len(body)}" if coding == "length" else "Transfer-Encoding: chunked"
    config = {"server": {"header_timeout": 0.8}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config) as tried, Wire(tried.address) as wire:
        start = f"POST {OPENAI.path}{query} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n"
        await wire.send(start.encode())
        for piece in pieces:
            await asyncio.sleep(0.3)
            await wire.send(piece if coding == "length" else b"%x\r\n%b\r\n" % (len(piece), piece))
        await wire.send(b"" if coding == "length" else b"0\r\n\r\n")

        assert (await wire.answer())[0] == 200


@every_plane
async def test_a_head_of_any_length_does_not_fill_the_memory(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried, Wire(tried.address) as wire:
        before = resident()
        await wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n")
        line = b"X-Filler: " + b"x" * 8000 + b"\r\n"

        async def fill() -> None:
            with contextlib.suppress(ConnectionError):
                for _ in range(10_000):
                    await wire.send(line)

        filling = asyncio.create_task(fill())
        told = await wire.to_end(timeout=5)
        await asyncio.wait_for(filling, 5)
        assert told.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
        assert resident() - before < 8 << 20


@every_plane
async def test_an_idle_connection_is_closed_after_its_keep_alive_time(plane: str, tmp_path: Path) -> None:
    config = {"server": {"keep_alive": 1}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config) as tried, Wire(tried.address) as wire:
        await wire.send(request(OPENAI.path, OPENAI.body(stream=False)))
        assert (await wire.answer())[0] == 200

        assert await wire.to_end(timeout=5) == b""
