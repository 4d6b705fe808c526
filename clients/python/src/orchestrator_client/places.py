"""Where plain handlers run: threads that do not keep the process alive, and processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from orchestrator_client.executor import HandlerFailed
from orchestrator_client.outcomes import error_line

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
    """A pool that is made with the first job, and anew after one of its processes died."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool: ProcessPoolExecutor | None = None

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Raises RuntimeError when the process died."""
        if self._pool is None:
            # Not forked: the event loop and its sockets stay with their owner.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._size, mp_context=context, initializer=_begin_process)
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = None
                pool.shutdown(wait=False)
            raise RuntimeError("the process of the handler died") from None

    def close(self) -> None:
        """Ends all processes, whatever they do."""
        if self._pool is None:
            return
        left = list((self._pool._processes or {}).values())  # no public way before Python 3.14
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in left:
            process.kill()


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
