"""`Worker`: runs tasks with functions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from orchestrator_client.async_client import AsyncClient
from orchestrator_client.executor import Executor
from orchestrator_client.handlers import Handler
from orchestrator_client.resources import Resources
from orchestrator_client.session import MOST_SLOTS, Session, Terms

NODE_VARIABLE = "ORCHESTRATOR_NODE_ID"
CONCURRENCY = 4
F = TypeVar("F", bound=Callable[..., Any])


class Worker:
    """A node that pulls tasks and runs them with functions; it needs no port and works behind NAT.

        worker = Worker()

        @worker.task("resize", capabilities=["images"])
        def resize(data, ctx):
            ctx.progress(0.5, "half of it")
            return {"width": data["width"]}

        worker.run()

    `url` and `api_key` as for `Client`. `node_id` is the worker's name (otherwise $ORCHESTRATOR_NODE_ID, then host and
    process number). `concurrency`: tasks at a time, 1 to 1,000; otherwise 4, or what the `executor`, such as
    `RayCluster()`, has room for. `capabilities` and `labels` are what tasks can ask for.
    `grace`: seconds that running tasks have to finish when the worker is told to stop. `wait`: seconds of a long poll,
    at most 30. `heartbeat`: most seconds between heartbeats while tasks run, and so until a cancellation arrives.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        node_id: str | None = None,
        concurrency: int | None = None,
        capabilities: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        grace: float = 30.0,
        wait: float = 20.0,
        heartbeat: float = 2.0,
        executor: Executor | None = None,
    ) -> None:
        if concurrency is not None and not 1 <= concurrency <= MOST_SLOTS:
            raise ValueError(f"concurrency: 1 to {MOST_SLOTS:,}")
        self.url = url
        self.api_key = api_key
        self.node_id = node_id or os.environ.get(NODE_VARIABLE) or own_name()
        self.concurrency = concurrency
        self.labels = dict(labels or {})
        self.grace = grace
        self.wait = min(wait, 30.0)
        self.heartbeat = heartbeat
        self.executor = executor
        self.handlers: dict[str, Handler] = {}
        self._capabilities = frozenset(capabilities)
        self._session: Session | None = None
        self._catches_signals = False

    @property
    def capabilities(self) -> frozenset[str]:
        return self._capabilities.union(*(handler.capabilities for handler in self.handlers.values()))

    def task(
        self,
        task_type: str,
        *,
        capabilities: Iterable[str] = (),
        process: bool = False,
        resources: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """The function runs tasks of this type. It takes their input data, and a `TaskContext` if it has a second
        parameter; what it returns is the result, and any exception fails the attempt (`Permanent`: the task).

        An `async def` runs in the worker's event loop; a plain function in a thread, or with `process` in a process
        (then it must be importable by name and takes the input data only). `resources`, for an executor:
        `num_cpus` (otherwise 1), `num_gpus`, `memory` in bytes, `custom` {name: amount}. Raises TypeError, ValueError.
        """

        def add(function: F) -> F:
            if task_type in self.handlers:
                raise ValueError(f"tasks of type {task_type!r} have a handler already")
            wanted = Resources.of(resources)
            self.handlers[task_type] = Handler.of(task_type, function, frozenset(capabilities), process, wanted)
            return function

        return add

    def run(self) -> None:
        """Until SIGTERM or Ctrl-C: then it takes no more tasks, lets those that run finish within `grace`, and gives
        back what is left; a second signal gives back at once. Raises OrchestratorError when the service refuses it."""
        asyncio.run(self._run_with_signals())

    async def serve(self) -> None:
        """The same inside a running event loop, until `stop`."""
        if not self.handlers:
            raise ValueError("the worker has no handler: decorate a function with @worker.task(...)")
        if self._session is not None:
            raise RuntimeError("the worker runs already")
        # Each pull and each report tells what to do about its failure itself.
        async with AsyncClient(self.url, self.api_key, retries=0) as client:
            self._session = Session(client, self.handlers, self._terms(), self.executor, self._catch_signals)
            try:
                await self._session.run()
            finally:
                self._session = None

    def stop(self) -> None:
        """Ends `serve` or `run` with what `run` says; the second time at once. From the event loop's thread."""
        if self._session is not None:
            self._session.stop()

    def _terms(self) -> Terms:
        registration: dict[str, Any] = {
            "mode": "pull",
            "host": socket.gethostname()[:200] or "localhost",
            "node_type": "worker",
            "capabilities": sorted(self.capabilities),
            "task_types": sorted(self.handlers),
            "labels": self.labels,
        }
        concurrency = self.concurrency
        if concurrency is None and self.executor is None:
            concurrency = CONCURRENCY
        registration["max_concurrency"] = concurrency or 1
        return Terms(self.node_id, registration, concurrency, self.grace, self.wait, self.heartbeat)

    async def _run_with_signals(self) -> None:
        self._catches_signals = True
        try:
            self._catch_signals()
            await self.serve()
        finally:
            self._catches_signals = False

    def _catch_signals(self) -> None:
        """Also when an executor is open: it may have taken them for itself."""
        if not self._catches_signals:
            return
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # not the main thread, not Unix
            for one in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(one, self.stop)


def own_name() -> str:
    """Of this process: letters, digits and ._- as the service wants them."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:80].lstrip("._-")
    return f"{host or 'worker'}-{os.getpid()}"
