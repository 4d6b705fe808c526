"""Where plain handlers run: threads that do not keep the process alive, and processes."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from orchestrator_client.executor import HandlerFailed
from orchestrator_client.outcomes import Outcome, error_line

LOOK_SECONDS = 1.0  # between two looks whether a process is still there
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Threads:
    """Daemon threads, made as they are needed. (The standard library's pool is joined at exit: one handler that does
    not look at `cancelled` would keep the process for ever.)"""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._idle = 0
        self._count = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            else:
                self._count += 1
                threading.Thread(target=self._work, name=f"task-{self._count}", daemon=True).start()
        self._jobs.put((loop, future, function, arguments))
        return await future

    def close(self) -> None:
        for _ in range(self._count):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, function, arguments = job
            result, error = None, None
            try:
                result = function(*arguments)
            except BaseException as raised:  # noqa: BLE001 - whatever a handler raises is the task's end
                error = _bearable(raised)
            with self._lock:
                self._idle += 1
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:  # the loop has ended, nobody waits
                return


def _bearable(raised: BaseException) -> Exception:
    """In the event loop: a future does not take StopIteration, and others would end more than the attempt."""
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    failed = HandlerFailed(error_line(raised))
    failed.__cause__ = raised
    return failed


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class Processes:
    """Each runs one attempt at a time, made as they are needed. (The standard library's pool breaks as a whole when one
    of its processes dies: that would fail attempts that have nothing to do with it.)"""

    def __init__(self) -> None:
        self._threads = Threads()
        self._lock = threading.Lock()
        self._all: set[_Process] = set()
        self._idle: list[_Process] = []
        self._closed = False

    async def run(self, function: Callable[..., Any], *arguments: Any) -> str:
        """The result as JSON. Raises Permanent, HandlerFailed (also when the process died)."""
        outcome: Outcome = await self._threads.run(self._run, pickle.dumps((function, arguments)))
        return outcome.value()

    def close(self) -> None:
        """Ends all processes, whatever they do."""
        with self._lock:
            self._closed = True
            for process in self._all:
                process.kill()
        self._threads.close()

    def _run(self, job: bytes) -> Outcome:
        process = self._take()
        try:
            outcome = process.run(job)
        except (EOFError, OSError):
            with self._lock:
                self._all.discard(process)
            return Outcome(error=f"the process of the handler died ({process.end()})")
        with self._lock:
            self._idle.append(process)
        return outcome

    def _take(self) -> _Process:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    return process
                self._all.discard(process)
                process.end()
            if self._closed:
                raise RuntimeError("the worker has ended")
            process = _Process()
            self._all.add(process)
            return process


class _Process:
    def __init__(self) -> None:
        # Not forked: the event loop and its sockets stay with their owner.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def run(self, job: bytes) -> Outcome:
        """Raises EOFError, OSError when the process died."""
        self._pipe.send_bytes(job)
        # What a handler has forked may keep the pipe open when the process is gone.
        while not self._pipe.poll(LOOK_SECONDS):
            if not self.alive and not self._pipe.poll():
                raise EOFError
        outcome: Outcome = self._pipe.recv()
        return outcome

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> str:
        """How it ended."""
        self._pipe.close()
        self.kill()
        self._process.join()
        code = self._process.exitcode
        with contextlib.suppress(ValueError):
            if code is not None and code < 0:
                return signal.Signals(-code).name
        return f"exit code {code}"


def _serve(pipe: Connection) -> None:
    """In the process: one attempt after the other."""
    _begin_process()
    with contextlib.suppress(EOFError):  # the worker has ended
        while True:
            pipe.send(_outcome(pipe.recv_bytes()))


def _outcome(job: bytes) -> Outcome:
    def call() -> Any:
        function, arguments = pickle.loads(job)  # noqa: S301 - of the worker
        return function(*arguments)

    try:
        return Outcome.of(call)
    except KeyboardInterrupt as error:  # raised by the handler: no signal is taken here
        return Outcome.failed(error)


def _begin_process() -> None:
    """Ctrl-C and a supervisor's SIGTERM reach the whole group: the worker decides. When it is killed, this ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
