"""What a connection makes of a node's bytes, however they are cut into reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.http1.connection import Connection, PooledCall
from orchestrator.adapters.http1.pool import ConnectionPool
from orchestrator.domain.errors import MalformedAnswer, UpstreamError
from orchestrator.ports.upstream import Receiver, ResponseHead, Target

TARGET = Target(key="a", host="127.0.0.1", port=1, tls=False, base_path="")


class Wire(asyncio.Transport):
    """A transport without a network: remembers what was written and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def abort(self) -> None:
        self.closed = True

    close = abort

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Heard(Receiver):
    """A receiver that writes down what it hears."""

    def __init__(self) -> None:
        self.heads: list[ResponseHead] = []
        self.body = b""
        self.ends = 0
        self.errors: list[UpstreamError] = []

    def on_head(self, head: ResponseHead) -> None:
        self.heads.append(head)

    def on_data(self, raw: bytes, body: bytes) -> None:
        assert self.heads, "content before the head"
        assert not self.ends
        assert not self.errors
        self.body += body

    def on_end(self) -> None:
        self.ends += 1

    def on_error(self, error: UpstreamError) -> None:
        self.errors.append(error)

    def broken(self, error: Exception) -> None:
        raise AssertionError("a mistake of ours") from error

    @property
    def over(self) -> int:
        return self.ends + len(self.errors)


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool()
    yield pool
    await pool.close()


def hear(pool: ConnectionPool, parts: list[bytes], *, then_close: bool = False) -> tuple[Heard, Connection, Wire]:
    heard, wire, connection = Heard(), Wire(), Connection(pool, TARGET)
    connection.connection_made(wire)
    connection.start(PooledCall(pool, TARGET, b"POST / HTTP/1.1\r\n\r\n", b"", heard))
    for part in parts:
        if not wire.closed:
            connection.data_received(part)
    if then_close:
        connection.connection_lost(None)
    return heard, connection, wire


HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\n"
ANSWERS: dict[str, tuple[bytes, int, bytes]] = {
    "length": (HEAD + b"Content-Length: 5\r\n\r\nhello", 200, b"hello"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "empty": (HEAD + b"Content-Length: 0\r\n\r\n", 200, b""),
    "chunked": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x\r\nlo\r\n0\r\nT: 1\r\n\r\n", 200, b"hello"),
    "after interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
        + HEAD
        + b"Content-Length: 2\r\n\r\nok",
        200,
        b"ok",
    ),
    "an error": (b"HTTP/1.0 503 Busy\r\ncontent-LENGTH:3 \r\n\r\nno!", 503, b"no!"),
    "no reason": (b"HTTP/1.1 404\r\nContent-Length: 1\r\n\r\nx", 404, b"x"),
}


@pytest.mark.parametrize(("answer", "status", "body"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_every_cut_gives_the_same_answer(answer: bytes, status: int, body: bytes, pool: ConnectionPool) -> None:
    for place in range(len(answer)):
        for parts in ([answer[:place], answer[place:]], [answer[:place], *(bytes([b]) for b in answer[place:])]):
            heard, connection, wire = hear(pool, [part for part in parts if part])
            assert ([head.status for head in heard.heads], heard.body, heard.ends) == ([status], body, 1)
            assert not heard.errors
            assert wire.closed == (b"HTTP/1.0" in answer)
            pool.discard(connection)


@pytest.mark.parametrize("answer", [one for one, _, _ in ANSWERS.values()], ids=ANSWERS.keys())
async def test_every_end_before_the_end_is_an_error(answer: bytes, pool: ConnectionPool) -> None:
    for place in range(len(answer)):
        heard, _, _ = hear(pool, [answer[:place]] if place else [], then_close=True)
        assert (heard.ends, len(heard.errors)) == (0, 1), answer[:place]


async def test_without_a_length_the_body_ends_with_the_connection(pool: ConnectionPool) -> None:
    heard, _, wire = hear(pool, [HEAD + b"\r\nhel", b"lo"], then_close=True)
    assert (heard.body, heard.ends, heard.errors) == (b"hello", 1, [])
    heard, _, wire = hear(pool, [HEAD + b"\r\nhel"])
    assert (heard.over, wire.closed) == (0, False)


async def test_a_connection_with_bytes_behind_the_answer_is_not_used_again(pool: ConnectionPool) -> None:
    for behind in (b"x", HEAD + b"Content-Length: 1\r\n\r\nx"):
        heard, _, wire = hear(pool, [HEAD + b"Content-Length: 2\r\n\r\nok" + behind])
        assert (heard.body, heard.ends, wire.closed) == (b"ok", 1, True)


async def test_an_idle_connection_that_speaks_is_dropped(pool: ConnectionPool) -> None:
    heard, connection, wire = hear(pool, [HEAD + b"Content-Length: 2\r\n\r\nok"])
    assert not wire.closed
    connection.data_received(b"HTTP/1.1 408 Too slow\r\n\r\n")
    assert wire.closed
    assert heard.over == 1


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nX: y\r\nContent-Length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 5a\r\n",
        b"Content-Length: \r\n",
        b"Content-Length: 9999999999999999999\r\n",
        b"Content-Length : 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding : identity\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: \r\n",
        b"X: y\nContent-Length: 5\r\n",
        b"X: y\rContent-Length: 5\r\n",
    ],
)
async def test_an_ambiguous_length_is_refused(lines: bytes, pool: ConnectionPool) -> None:
    heard, _, wire = hear(pool, [HEAD + lines + b"\r\nhello"])
    assert [type(error) for error in heard.errors] == [MalformedAnswer]
    assert not heard.heads
    assert wire.closed


async def test_the_same_head_again_is_framed_anew(pool: ConnectionPool) -> None:
    """The second answer of a connection has the head of the first, word for word: its body is its own."""
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    heard, connection, wire = hear(pool, [chunked + b"3\r\none\r\n0\r\n\r\n"])
    for word in (b"two", b"three"):
        again = Heard()
        pool.discard(connection)
        connection.start(PooledCall(pool, TARGET, b"POST / HTTP/1.1\r\n\r\n", b"", again))
        connection.data_received(chunked)
        connection.data_received(b"%x\r\n%b\r\n0\r\n\r\n" % (len(word), word))
        assert (again.body, again.ends) == (word, 1)
    assert heard.body == b"one"
    assert not wire.closed


async def test_nothing_is_heard_after_a_cancel(pool: ConnectionPool) -> None:
    heard, wire, connection = Heard(), Wire(), Connection(pool, TARGET)
    connection.connection_made(wire)
    call = PooledCall(pool, TARGET, b"POST / HTTP/1.1\r\n\r\n", b"", heard)
    connection.start(call)
    connection.data_received(HEAD + b"Content-Length: 5\r\n\r\nhe")
    call.cancel()
    connection.connection_lost(None)
    assert wire.closed
    assert (heard.over, heard.body) == (0, b"he")


@settings(max_examples=300)
@given(st.binary(max_size=300), st.integers(min_value=1, max_value=300), st.booleans())
def test_noise_ends_in_one_verdict(noise: bytes, place: int, with_status: bool) -> None:
    async def run() -> None:
        pool = ConnectionPool()
        try:
            data = (b"HTTP/1.1 200 OK\r\n" if with_status else b"") + noise
            parts = [part for part in (data[:place], data[place:]) if part]
            heard, _, wire = hear(pool, parts)
            assert heard.over <= 1
            assert not heard.over or wire.closed or heard.ends
            heard, _, _ = hear(pool, parts, then_close=True)
            assert heard.over <= 1
            assert all(isinstance(error, UpstreamError) for error in heard.errors)
        finally:
            await pool.close()

    asyncio.run(run())
