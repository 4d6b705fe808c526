"""Processes that call functions. Each calls one at a time; one whose call is not wanted any more is killed, which an
executor of the standard library cannot do."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from orchestrator.adapters.callables.frames import LENGTH, Bounds, Order, Outcome, framed
from orchestrator.ports.callables import Called, ProcessLimits

MAX_OUTCOME = 64 << 20  # bytes
SAID = 2_000  # of what a process wrote last: characters that explain its end
_ENVELOPE = 4_096  # bytes around a result
_READ = 1 << 16
PATIENCE = 5.0  # seconds for processes to end that were killed
_PASSED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PASSED_FAMILIES = ("LC_", "PYTHON")
_outcome = msgspec.json.Decoder(Outcome)
T = TypeVar("T")
_MODULE = "orchestrator.adapters.callables.child"


class CallProcesses:
    """`Callables`. Processes begin when they are needed and are used again; the caller bounds how many there are by how
    many calls it makes at a time. A call with limits has a process of its own, which leads a group: all of that ends
    with the call."""

    def __init__(self) -> None:
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()
        self._leaders: set[asyncio.subprocess.Process] = set()
        self._ending: set[asyncio.Task[Any]] = set()

    async def call(self, function: str, argument: bytes, limits: ProcessLimits | None = None) -> Called:
        if limits is not None:
            return await self._call_alone(function, argument, limits)
        process = self._idle.pop() if self._idle else await self._begin()
        whole = False
        try:
            outcome = await self._exchange(process, Order(function, msgspec.Raw(argument)))
            whole = True
        except (asyncio.IncompleteReadError, ConnectionError):
            return Called(error=f"the process {_end_of(await process.wait())}", crashed=True)
        finally:
            if whole:
                self._idle.append(process)
            else:
                self._end(process)
        return _called(outcome)

    async def close(self) -> None:
        left = list(self._all)
        self._idle.clear()
        for process in left:
            self._end(process)
        if self._ending:
            await asyncio.wait(self._ending, timeout=PATIENCE)

    async def _call_alone(self, function: str, argument: bytes, limits: ProcessLimits) -> Called:
        process = await self._begin(limits)
        said = self._kept(_last_words(process))
        order = Order(function, msgspec.Raw(argument), _bounds(limits), limits.output + _ENVELOPE)
        try:
            return _called(await self._exchange(process, order))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._end(process)  # what it has started could hold the pipes open
            await asyncio.wait([said], timeout=PATIENCE)
            words = said.result() if said.done() else ""
            return Called(
                error=f"the process {_end_of(await process.wait())}{f': {words}' if words else ''}", crashed=True
            )
        except msgspec.DecodeError:
            return Called(error="the process answered what it should not", crashed=True)
        finally:
            self._end(process)

    async def _begin(self, limits: ProcessLimits | None = None) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", _MODULE)
        if limits is None:
            process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        else:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, stderr=pipe, env=_environment(limits), start_new_session=True
            )
            self._leaders.add(process)
        self._all.add(process)
        return process

    @staticmethod
    async def _exchange(process: asyncio.subprocess.Process, order: Order) -> Outcome:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(framed(msgspec.json.encode(order)))
        await process.stdin.drain()
        length = int.from_bytes(await process.stdout.readexactly(LENGTH), "big")
        if length > MAX_OUTCOME + _ENVELOPE:
            return Outcome(error=f"the result has {length:,} bytes", final=True)
        return _outcome.decode(await process.stdout.readexactly(length))

    def _end(self, process: asyncio.subprocess.Process) -> None:
        if process not in self._all:
            return
        self._all.discard(process)
        if process in self._leaders:
            self._leaders.discard(process)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        elif process.returncode is None:
            process.kill()
        self._kept(_ended(process))

    def _kept(self, reading: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(reading)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task


def _bounds(limits: ProcessLimits) -> Bounds:
    return Bounds(os.getpid(), limits.memory, limits.cpu_seconds, limits.open_files, limits.processes, limits.file_size)


def _called(outcome: Outcome) -> Called:
    if outcome.error:
        return Called(error=outcome.error, final=outcome.final)
    return Called(msgspec.json.encode(outcome.result))


def _environment(limits: ProcessLimits) -> dict[str, str]:
    """Without the service's secrets."""
    passed = {name: value for name, value in os.environ.items() if name in _PASSED or name.startswith(_PASSED_FAMILIES)}
    return passed | dict(limits.environment)


def _end_of(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"was ended by {name}"


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Nobody reads what it still says; a pipe that is full would never be closed."""
    assert process.stdout is not None
    with suppress(ConnectionError):
        while await process.stdout.read(_READ):
            pass
    await process.wait()


async def _last_words(process: asyncio.subprocess.Process) -> str:
    """Reads all that it writes, and keeps the end of it."""
    assert process.stderr is not None
    kept = b""
    while piece := await process.stderr.read(_READ):
        kept = (kept + piece)[-SAID:]
    return " ".join(kept.decode("utf-8", "replace").split())
