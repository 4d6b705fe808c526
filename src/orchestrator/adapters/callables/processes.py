"""Processes that call functions. Each calls one at a time; one whose call is not wanted any more is killed, which an
executor of the standard library cannot do."""

from __future__ import annotations

import asyncio
import sys

import msgspec

from orchestrator.adapters.callables.frames import LENGTH, Order, Outcome, framed
from orchestrator.ports.callables import Called

MAX_OUTCOME = 64 << 20  # bytes
_outcome = msgspec.json.Decoder(Outcome)
_MODULE = "orchestrator.adapters.callables.child"


class CallProcesses:
    """`Callables`. Processes begin when they are needed and are used again; the caller bounds how many there are by how
    many calls it makes at a time."""

    def __init__(self) -> None:
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()

    async def call(self, function: str, argument: bytes) -> Called:
        process = self._idle.pop() if self._idle else await self._begin()
        whole = False
        try:
            outcome = await self._exchange(process, Order(function, msgspec.Raw(argument)))
            whole = True
        except (asyncio.IncompleteReadError, ConnectionError):
            return Called(error=f"the process ended with status {await process.wait()}")
        finally:
            if whole:
                self._idle.append(process)
            else:
                self._end(process)
        if outcome.error:
            return Called(error=outcome.error, final=outcome.final)
        return Called(msgspec.json.encode(outcome.result))

    async def close(self) -> None:
        left = list(self._all)
        self._idle.clear()
        for process in left:
            self._end(process)
        await asyncio.gather(*(process.wait() for process in left))

    async def _begin(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", _MODULE, stdin=pipe, stdout=pipe)
        self._all.add(process)
        return process

    @staticmethod
    async def _exchange(process: asyncio.subprocess.Process, order: Order) -> Outcome:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(framed(msgspec.json.encode(order)))
        await process.stdin.drain()
        length = int.from_bytes(await process.stdout.readexactly(LENGTH), "big")
        if length > MAX_OUTCOME:
            return Outcome(error=f"the result has {length:,} bytes", final=True)
        return _outcome.decode(await process.stdout.readexactly(length))

    def _end(self, process: asyncio.subprocess.Process) -> None:
        self._all.discard(process)
        if process.returncode is None:
            process.kill()
