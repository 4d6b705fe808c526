"""Sends a plan: paced, and broken in the way its mode says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from orchestrator.testing.model_server import wire
from orchestrator.testing.model_server.behaviour import Mode
from orchestrator.testing.model_server.connection import Connection
from orchestrator.testing.model_server.exchange import Dialect
from orchestrator.testing.model_server.plan import JSON, TEXT, Frame, Plan, Stream, Whole
from orchestrator.testing.model_server.request import Request
from orchestrator.testing.model_server.state import Received

_BATCH = 64 * 1024
_STREAM_FAULTS = frozenset({"hang_mid", "cut", "eof", "half_close", "malformed", "sse_error_midway"})


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds before the first token and between tokens."""

    first: float = 0.0
    between: float = 0.0

    @property
    def immediate(self) -> bool:
        """Whether nothing is to be waited for."""
        return not self.first and not self.between


@dataclass(slots=True)
class Delivery:
    """One answer on its way to one client.

    `held` waits until the server releases what hangs; `progressed` is called when bytes were sent.
    """

    connection: Connection
    request: Request
    record: Received
    dialect: Dialect
    mode: Mode
    pace: Pace
    clock: Callable[[], float]
    held: Callable[[], Awaitable[None]]
    progressed: Callable[[], None]
    due: float = 0.0

    @property
    def immediate(self) -> bool:
        """Whether the answer can be sent without waiting for anything."""
        return self.mode.kind in ("ok", "no_usage") and self.pace.immediate

    def send(self, plan: Plan) -> None:
        """Send a small answer at once."""
        if isinstance(plan, Stream):
            chunked = not self.request.http10
            tokens = sum(frame.token for frame in plan.frames)
            body = b"".join(self._framed(frame.data) for frame in plan.frames)
            self._write(self._head(plan) + body + (wire.LAST_CHUNK if chunked else b""))
            self.record.tokens = tokens
        else:
            self._write(self._head(plan) + self._body(plan))
            self.record.tokens = plan.tokens

    async def before(self) -> bool:
        """Do what the mode does before an answer is even made; whether that was all."""
        mode = self.mode
        match mode.kind:
            case "slow":
                await asyncio.sleep((mode.ms or 0.0) / 1000)
            case "hang":
                await self._hang()
            case "reset":
                self.connection.reset()
                return True
            case "close":
                self.connection.close()
                return True
            case "status":
                await self._whole(self._error(mode.status))
                return True
            case "error_body_200":
                error = self.dialect.error(500, mode.message, None)
                await self._whole(Whole(error if mode.body is None else _as_bytes(mode.body)[0], headers=mode.headers))
                return True
        return False

    async def run(self, plan: Plan) -> None:
        """Send `plan` at its pace, with the mode's fault."""
        if isinstance(plan, Stream):
            self.due = self.clock() + self.pace.first
            await self._stream(plan)
        else:
            await asyncio.sleep(self.pace.first + self.pace.between * plan.tokens)
            await self._whole(plan)

    async def _stream(self, plan: Stream) -> None:
        if self.mode.kind not in _STREAM_FAULTS:
            await self._frames(plan.frames, self._head(plan))
            return await self._end()
        sent, rest = plan.cut(self.mode.after)
        await self._frames(sent, self._head(plan))
        match self.mode.kind:
            case "hang_mid":
                await self._hang()
            case "malformed":
                await self._frames([Frame(self.dialect.broken_frame)])
            case "sse_error_midway":
                await self._frames([Frame(self.dialect.error_frame(self.mode.message))])
                return await self._end()
            case "eof":
                return await self._end()
            case _:
                return await self._break()
        await self._frames(rest)
        return await self._end()

    async def _frames(self, frames: list[Frame], first: bytes = b"") -> None:
        """Write `frames`, in batches when they are not paced; `first` is the head, which goes with the first frame."""
        batch, size = [first], len(first)
        for frame in frames:
            if frame.token and not self.pace.immediate:
                await self._until_due(b"".join(batch))
                batch, size = [], 0
            data = self._framed(frame.data)
            batch.append(data)
            size += len(data)
            self.record.tokens += frame.token
            if size >= _BATCH or self.mode.kind == "split_utf8":
                await self._put(b"".join(batch))
                batch, size = [], 0
        await self._put(b"".join(batch))

    async def _until_due(self, batch: bytes) -> None:
        """Wait for the next token's time. What is waiting goes out first, but the head not before the first token."""
        if self.record.first_byte_at is not None:
            await self._put(batch)
            batch = b""
        delay = self.due - self.clock()
        if delay > 0:
            await asyncio.sleep(delay)
        self.due += self.pace.between
        await self._put(batch)

    async def _whole(self, plan: Whole) -> None:
        body = self._body(plan)
        if self.mode.kind not in _STREAM_FAULTS or self.mode.kind == "sse_error_midway":
            await self._put(self._head(plan))
            await self._put(body)
            self.record.tokens = plan.tokens
            return
        half = body[: len(body) // 2]
        if self.mode.kind in ("eof", "malformed"):
            await self._put(self._head(Whole(half, plan.status, plan.content_type, plan.headers)) + half)
            return
        await self._put(self._head(plan) + (half if self.mode.after else b""))
        if self.mode.kind != "hang_mid":
            return await self._break()
        await self._hang()
        await self._put(body[len(half) if self.mode.after else 0 :])

    async def _break(self) -> None:
        """End the connection in the middle, when all that was sent is out."""
        await self.connection.flush()
        if self.mode.kind == "cut":
            self.connection.reset()
        else:
            self.connection.half_close()

    async def _hang(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self.mode.ms is None else self.mode.ms / 1000):
                await self.held()
        self.due = self.clock()

    async def _end(self) -> None:
        if not self.request.http10:
            await self._put(wire.LAST_CHUNK)
        else:
            self.connection.close()

    async def _put(self, data: bytes) -> None:
        """Write and wait until it is out; `split_utf8` puts every piece into a packet of its own."""
        if self.mode.kind != "split_utf8":
            for start in range(0, len(data), _BATCH):
                self._write(data[start : start + _BATCH])
                await self.connection.flush()
            return
        for piece in wire.inside_characters(data):
            self._write(piece)
            await self.connection.flush()
            await asyncio.sleep(0.001)

    def _write(self, data: bytes) -> None:
        self.connection.write(data)
        self.record.bytes_sent += len(data)
        if self.record.first_byte_at is None:
            self.record.first_byte_at = self.clock()
        self.progressed()

    def _head(self, plan: Plan) -> bytes:
        close = not self.request.keep_alive
        if isinstance(plan, Stream):
            self.record.status = 200
            chunked = not self.request.http10
            return wire.head(200, plan.content_type, length=None, chunked=chunked, close=close or not chunked)
        self.record.status = plan.status
        return wire.head(plan.status, plan.content_type, length=len(plan.body), close=close, headers=plan.headers)

    def _framed(self, data: bytes) -> bytes:
        if self.request.http10:
            return data
        if self.mode.kind == "split_utf8":
            return b"".join(map(wire.chunk, wire.inside_characters(data)))
        return wire.chunk(data)

    def _body(self, plan: Whole) -> bytes:
        return b"" if self.request.method == "HEAD" else plan.body

    def _error(self, status: int) -> Whole:
        if self.mode.body is None:
            return Whole(self.dialect.error(status, self.mode.message, None), status, headers=self.mode.headers)
        body, content_type = _as_bytes(self.mode.body)
        return Whole(body, status, content_type, self.mode.headers)


def _as_bytes(body: object) -> tuple[bytes, str]:
    """A mode's body as it goes out: a string as it is, anything else as JSON."""
    return (body.encode(), TEXT) if isinstance(body, str) else (msgspec.json.encode(body), JSON)
