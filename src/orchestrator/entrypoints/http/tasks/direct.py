"""The calls that every task makes without ASGI, served by the connection's own protocol: submitting tasks, and what
nodes ask and report.

The routes in `tasks` and `node_tasks` are the same calls; they answer whatever is not plain enough for these.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from time import perf_counter

import msgspec

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.task.task import Task
from orchestrator.entrypoints.http.guard import SECURITY_HEADERS
from orchestrator.entrypoints.http.plane import Client, DirectCall
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.entrypoints.http.tasks.envelope import JSON, PREFIX, refusal, submitted
from orchestrator.entrypoints.http.tasks.work import Answer, pulled, reported, reported_many, taken_many
from orchestrator.services.tasks.submission import read_task

_HEADERS = b"content-type: application/json\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in SECURITY_HEADERS)
_JSON = JSON.encode()
_log = logging.getLogger("orchestrator.http")
_below_v1 = f"{PREFIX}/".encode()
# Names that need no decoding; the application decodes others.
_named = re.compile(
    rb"%b(?:nodes/([A-Za-z0-9._~-]+)/tasks/pull|tasks/([A-Za-z0-9._:~-]+)/result)" % re.escape(_below_v1)
).fullmatch
Work = Callable[[HttpService, Principal, bytes], Answer]


class _Call:
    """What all of them share. `path` is the route's, with its parameters' names."""

    def __init__(self, service: HttpService, path: str, permission: Permission) -> None:
        self._service = service
        self._path = path
        self._permission = permission
        self._count = service.figures.api.count

    def admits(self, headers: Mapping[bytes, bytes], principal: Principal) -> bool:
        json = headers.get(b"content-type", b"").lower() == _JSON
        return json and allowed(principal, self._permission)

    def refuse(self, client: Client, error: OrchestratorError, begun: float) -> None:
        headers = _HEADERS
        if error.retry_after is not None:
            headers += b"retry-after: %d\r\n" % max(1, round(error.retry_after))
        clock = self._service.clock
        clock.tick()
        self.answer(client, error.status, headers, msgspec.json.encode(refusal(error, clock.timestamp())), begun)

    def broken(self, client: Client, begun: float) -> None:
        """For a fault of ours, while it is handled."""
        _log.exception("bug", extra={"method": "POST", "path": self._path})
        self.refuse(client, OrchestratorError("Internal server error"), begun)

    def answer(self, client: Client, status: int, headers: bytes, body: bytes, begun: float) -> None:
        seconds = perf_counter() - begun
        self._count("POST", self._path, status, seconds)
        client.respond(status, b"%bx-response-time: %.3fs\r\n" % (headers, seconds), body)


class DirectSubmit(_Call):
    """`DirectCall` for one task."""

    def __init__(self, service: HttpService) -> None:
        super().__init__(service, f"{PREFIX}/tasks", Permission.TASKS_SUBMIT)
        self._intake = service.tasks.intake

    def serve(self, client: Client, headers: Mapping[bytes, bytes], principal: Principal, body: bytes) -> None:
        begun = perf_counter()

        def taken(found: Task | OrchestratorError, new: bool) -> None:
            if isinstance(found, Task):
                self.answer(client, 200, _HEADERS, submitted(self._service.clock, found.id, new), begun)
            else:
                self.refuse(client, found, begun)

        try:
            key = headers.get(b"idempotency-key", b"").decode("latin-1")
            self._intake.begin(read_task(body), principal.id, key, taken)
        except OrchestratorError as error:
            self.refuse(client, error, begun)
        except Exception:  # noqa: BLE001 - process edge: nothing above this catches it
            self.broken(client, begun)


class DirectWork(_Call):
    """`DirectCall` for what is answered by a coroutine."""

    def __init__(
        self, service: HttpService, path: str, permission: Permission, work: Work, running: set[asyncio.Task[None]]
    ) -> None:
        """`work` begins with it at once and gives the body of the answer; `running` keeps what is under way."""
        super().__init__(service, path, permission)
        self._work = work
        self._running = running

    def serve(self, client: Client, headers: Mapping[bytes, bytes], principal: Principal, body: bytes) -> None:
        begun = perf_counter()
        try:
            working = self._work(self._service, principal, body)
        except OrchestratorError as error:
            self.refuse(client, error, begun)
        except Exception:  # noqa: BLE001 - process edge: nothing above this catches it
            self.broken(client, begun)
        else:
            task = asyncio.get_running_loop().create_task(self._serve(client, working, begun))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _serve(self, client: Client, working: Answer, begun: float) -> None:
        try:
            answer = await working
        except OrchestratorError as error:
            self.refuse(client, error, begun)
        except Exception:  # noqa: BLE001 - process edge: nothing above this catches it
            self.broken(client, begun)
        else:
            self.answer(client, 200, _HEADERS, answer, begun)


class Calls:
    """The calls of one service."""

    def __init__(self, service: HttpService) -> None:
        self._service = service
        self._running: set[asyncio.Task[None]] = set()
        self._plain: dict[bytes, DirectCall] = {
            _below_v1 + b"tasks": DirectSubmit(service),
            _below_v1 + b"tasks/batch": self._made("tasks/batch", Permission.TASKS_SUBMIT, taken_many),
            _below_v1 + b"tasks/results": self._made("tasks/results", Permission.NODES_REPORT, reported_many),
        }

    def find(self, path: bytes) -> DirectCall | None:
        """The call that a `POST` to this path makes, if it is one of these."""
        found = self._plain.get(path)
        if found is not None or not path.startswith(_below_v1):
            return found
        named = _named(path)
        return self._of(*named.groups()) if named is not None else None

    def _of(self, node: bytes | None, task: bytes | None) -> DirectCall:
        if node is not None:
            node_id = node.decode()

            def pull(service: HttpService, principal: Principal, raw: bytes) -> Answer:
                return pulled(service, principal, node_id, raw or b"{}")

            return self._made("nodes/{node_id}/tasks/pull", Permission.NODES_REPORT, pull)
        task_id = (task or b"").decode()

        def report(service: HttpService, principal: Principal, raw: bytes) -> Answer:
            return reported(service, principal, task_id, raw)

        return self._made("tasks/{task_id}/result", Permission.NODES_REPORT, report)

    def _made(self, path: str, permission: Permission, work: Work) -> DirectWork:
        return DirectWork(self._service, f"{PREFIX}/{path}", permission, work, self._running)
