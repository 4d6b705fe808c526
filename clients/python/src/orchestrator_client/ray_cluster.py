"""`RayCluster`: runs a worker's handlers as tasks of a Ray cluster."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
import os
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

from orchestrator_client.executor import ExecutorUnavailable, HandlerFailed, Lost, Room
from orchestrator_client.handlers import Handler, TaskContext
from orchestrator_client.outcomes import Outcome
from orchestrator_client.places import Threads
from orchestrator_client.ray_task import is_streamed, plain, streamed

ADDRESS_VARIABLE = "RAY_ADDRESS"
CONNECT_SECONDS = 30.0
REACH_SECONDS = 5.0
CANCEL_SECONDS = 5.0  # that a handler has to end when it is cancelled; then Ray ends its process
CLOSE_SECONDS = 10.0
MOST_LOST = 3  # times that a task may lose its node: another time it is taken for the cause
REMEMBERED = 10_000  # tasks that lost a node
_log = logging.getLogger("orchestrator_client.worker")


class RayCluster:
    """The cluster at `address` (HOST:PORT of its head; otherwise $RAY_ADDRESS, then the one that runs on this machine).
    The worker runs on a machine of the cluster. `runtime_env` is Ray's: what its nodes need besides what they have,
    such as {"working_dir": "."}. When the cluster has not answered for `patience` seconds, the worker gives its tasks
    back and ends.

        worker = Worker(executor=RayCluster())

        @worker.task("train", resources={"num_gpus": 1})
        def train(data, ctx): ...

    The module of a handler travels with it; what that imports, and orchestrator_client, must be on the nodes.
    """

    def __init__(
        self, address: str | None = None, *, runtime_env: Mapping[str, Any] | None = None, patience: float = 30.0
    ) -> None:
        self.address = address or os.environ.get(ADDRESS_VARIABLE) or "auto"
        self.runtime_env = dict(runtime_env or {})
        self.patience = patience
        self._ray: Any = None
        self._ours = False  # a connection that was there before stays
        self._threads = Threads()
        self._handlers: Mapping[str, Handler] = {}
        self._functions: dict[str, Any] = {}
        self._room = Room(0, frozenset())
        self._missing: Set[str] = frozenset()
        self._lost: Counter[str] = Counter()

    async def open(self, handlers: Mapping[str, Handler]) -> None:
        try:
            self._ray = importlib.import_module("ray")
        except ImportError as error:
            raise ExecutorUnavailable(
                f"Ray is not installed ({error}). Install it: pip install 'orchestrator-client[ray]', in the version of"
                " the cluster."
            ) from None
        await self._check_reachable()
        self._threads = Threads()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                # Not in the main thread: Ray would take SIGTERM for itself.
                await self._threads.run(self._connect)
        except TimeoutError:
            raise ExecutorUnavailable(self._unreachable("no answer in time")) from None
        except Exception as error:  # Ray raises many types here
            raise ExecutorUnavailable(self._unreachable(str(error) or type(error).__name__)) from error
        self._handlers = handlers
        self._functions = {name: self._function(handler) for name, handler in handlers.items()}

    async def room(self) -> Room:
        ends = time.monotonic() + self.patience
        while True:
            try:
                async with asyncio.timeout(max(0.0, ends - time.monotonic())):
                    nodes = await self._threads.run(self._ray.nodes)
                break
            except TimeoutError:
                raise ExecutorUnavailable(f"The Ray cluster has not answered for {self.patience:g} s.") from None
            except Exception as error:  # noqa: BLE001 - Ray raises many types here
                _log.warning("the Ray cluster does not tell its resources: %s", error)
                await asyncio.sleep(1.0)
        machines = [one["Resources"] for one in nodes if one["Alive"]]
        fitting = {
            name: sum(handler.resources.fits(machine) for machine in machines)
            for name, handler in self._handlers.items()
        }
        types = frozenset(name for name, count in fitting.items() if count)
        missing = fitting.keys() - types
        for name in sorted(missing - self._missing):
            _log.warning("no node of the Ray cluster has room for %s: %s", name, self._handlers[name].resources)
        self._missing = missing
        memory = max((machine.get("memory", 0.0) for machine in machines), default=0.0)
        self._room = Room(max(fitting.values(), default=0), types, int(memory) >> 20)
        return self._room

    async def run(self, handler: Handler, data: Any, context: TaskContext) -> str:
        sent = self._send(handler, data, context)
        following = asyncio.create_task(self._follow(sent, is_streamed(handler), context))
        try:
            outcome = await asyncio.shield(following)
        except asyncio.CancelledError:
            await self._cancel(sent, following)
            raise
        except self._ray.exceptions.RayError as error:
            raise self._fault(error, context.task_id) from None
        self._lost.pop(context.task_id, None)
        return outcome.value()

    def close(self) -> None:
        """What still runs is ended by Ray."""
        if self._ray is not None and self._ours:
            self._ours = False
            # A cluster that is gone must not keep the worker.
            ending = threading.Thread(target=self._ray.shutdown, daemon=True)
            ending.start()
            ending.join(CLOSE_SECONDS)
        self._threads.close()

    # The connection

    async def _check_reachable(self) -> None:
        """Ray itself tries for a minute."""
        host, colon, port = self.address.rpartition(":")
        if "://" in self.address or not colon or not port.isdigit():
            return
        try:
            async with asyncio.timeout(REACH_SECONDS):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except (OSError, TimeoutError) as error:
            raise ExecutorUnavailable(self._unreachable(str(error) or "no answer in time")) from None
        writer.close()

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        self._ray.init(
            address=self.address,
            namespace="orchestrator",
            runtime_env=self.runtime_env or None,
            logging_level=logging.ERROR,
            log_to_driver=False,  # otherwise with pages of what a dying node has to say
        )
        self._ours = True

    def _unreachable(self, why: str) -> str:
        where = "on this machine" if self.address == "auto" else f"at {self.address}"
        hint = "Start a node of it here: ray start --head, or ray start --address=HOST:PORT."
        return f"There is no Ray cluster {where}: {why.strip().splitlines()[0]}. {hint}"

    # Handlers

    def _function(self, handler: Handler) -> Any:
        """Ray's form of a handler. The ledger counts the attempts: Ray makes none of its own."""
        needs = handler.resources
        function = self._portable(handler)
        run = streamed(handler, function) if is_streamed(handler) else plain(function)
        options: dict[str, Any] = {"num_cpus": needs.num_cpus, "num_gpus": needs.num_gpus, "max_retries": 0}
        if needs.memory:
            options["memory"] = needs.memory
        if needs.custom:
            options["resources"] = dict(needs.custom)
        return self._ray.remote(**options)(run)

    def _portable(self, handler: Handler) -> Callable[..., Any]:
        """A module of the user's own is not on the cluster's machines: it travels with the function. Raises
        ValueError."""
        function = handler.function
        pickle = self._ray.cloudpickle
        module = sys.modules.get(getattr(function, "__module__", None) or "")
        if module is not None and _is_own(module):
            pickle.register_pickle_by_value(module)
            try:
                pickle.dumps(function)
            except Exception as error:  # noqa: BLE001 - whatever a module's values raise
                pickle.unregister_pickle_by_value(module)
                _log.warning(
                    "%s cannot travel with the handler of %r (%s): it must be on the nodes of the Ray cluster",
                    *(module.__name__, handler.task_type, error),
                )
        try:
            pickle.dumps(function)
        except Exception as error:  # noqa: BLE001
            raise ValueError(f"the handler of {handler.task_type!r} cannot be sent to Ray: {error}") from None
        return function

    def _send(self, handler: Handler, data: Any, context: TaskContext) -> Any:
        name = f"{context.task_type} {context.task_id} {context.attempt}"
        function = self._functions[handler.task_type].options(name=name)
        if not is_streamed(handler):
            return function.remote(data)
        left = context.seconds_left
        return function.remote(data, context.told, None if left is None else time.time() + left)

    async def _follow(self, sent: Any, is_stream: bool, context: TaskContext) -> Outcome:
        if not is_stream:
            outcome: Outcome = await sent
            return outcome
        async for ref in sent:
            said = await ref
            if isinstance(said, Outcome):
                return said
            if said.progress is not None:
                context.progress(*said.progress)
            for line in said.lines:
                context.log(line.message, line.level, line.at)
        raise Lost("Ray ended it without a word")

    async def _cancel(self, sent: Any, following: asyncio.Task[Outcome]) -> None:
        """Returns when it has ended, at the latest when its process was ended."""
        try:
            for force in (False, True):
                asking = asyncio.create_task(self._tell_to_end(sent, force))
                done, _ = await asyncio.wait([following], timeout=CANCEL_SECONDS)
                asking.cancel()
                if done:
                    break
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _tell_to_end(self, sent: Any, force: bool) -> None:
        """Not in the event loop: Ray waits for the cluster, which may be gone."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            await self._threads.run(functools.partial(self._ray.cancel, sent, force=force))

    # Faults

    def _fault(self, error: Exception, task_id: str) -> Exception:
        """What the end of a Ray task without an outcome means."""
        kinds = self._ray.exceptions
        gone = (kinds.NodeDiedError, kinds.LocalRayletDiedError, kinds.ObjectLostError)
        if isinstance(error, gone):
            if len(self._lost) > REMEMBERED:
                self._lost.clear()
            self._lost[task_id] += 1
            if self._lost[task_id] <= MOST_LOST:
                return Lost(f"its Ray node died ({type(error).__name__})")
            return HandlerFailed(f"its Ray node died {self._lost[task_id]} times")
        if isinstance(error, kinds.WorkerCrashedError):
            return HandlerFailed("the process of the handler died")
        if isinstance(error, kinds.TaskCancelledError):
            return HandlerFailed("it was cancelled in Ray")
        cause = getattr(error, "cause", None) or error
        lines = str(cause).strip().splitlines() or [type(error).__name__]
        failure = HandlerFailed(f"Ray could not run it: {type(cause).__name__}: {lines[0]}")
        failure.add_note(str(error))
        return failure


def _is_own(module: Any) -> bool:
    """Not a part of Python, of an installed package, or the program itself (which travels anyway)."""
    file = getattr(module, "__file__", None)
    if file is None or module.__name__ == "__main__":
        return False
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]
    return not any(Path(file).resolve().is_relative_to(folder) for folder in installed)
