"""Submitting a task without ASGI: the call that there are most of, served by the connection's own protocol.

The route in `tasks` is the same call; it answers whatever is not plain enough for this one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import perf_counter

import msgspec

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.task.task import Task
from orchestrator.entrypoints.http.guard import SECURITY_HEADERS
from orchestrator.entrypoints.http.plane import Client
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.entrypoints.http.tasks.envelope import PREFIX, refusal, submitted
from orchestrator.services.tasks.submission import read_task

PATH = f"{PREFIX}/tasks"
_HEADERS = b"content-type: application/json\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in SECURITY_HEADERS)
_log = logging.getLogger("orchestrator.http")


class DirectSubmit:
    """`DirectCall` for `POST /api/v1/tasks`."""

    def __init__(self, service: HttpService) -> None:
        self._service = service
        self._intake = service.tasks.intake
        self._count = service.figures.api.count

    def admits(self, headers: Mapping[bytes, bytes], principal: Principal) -> bool:
        json = headers.get(b"content-type", b"").lower() == b"application/json"
        return json and allowed(principal, Permission.TASKS_SUBMIT)

    def serve(self, client: Client, headers: Mapping[bytes, bytes], principal: Principal, body: bytes) -> None:
        begun = perf_counter()

        def taken(found: Task | OrchestratorError, new: bool) -> None:
            if isinstance(found, Task):
                self._answer(client, 200, _HEADERS, submitted(self._service.clock, found.id, new), begun)
            else:
                self._refuse(client, found, begun)

        try:
            key = headers.get(b"idempotency-key", b"").decode("latin-1")
            self._intake.begin(read_task(body), principal.id, key, taken)
        except OrchestratorError as error:
            self._refuse(client, error, begun)
        except Exception:  # noqa: BLE001 - process edge: nothing above this catches it
            _log.exception("bug", extra={"method": "POST", "path": PATH})
            self._refuse(client, OrchestratorError("Internal server error"), begun)

    def _refuse(self, client: Client, error: OrchestratorError, begun: float) -> None:
        headers = _HEADERS
        if error.retry_after is not None:
            headers += b"retry-after: %d\r\n" % max(1, round(error.retry_after))
        clock = self._service.clock
        clock.tick()
        self._answer(client, error.status, headers, msgspec.json.encode(refusal(error, clock.timestamp())), begun)

    def _answer(self, client: Client, status: int, headers: bytes, body: bytes, begun: float) -> None:
        seconds = perf_counter() - begun
        self._count("POST", PATH, status, seconds)
        client.respond(status, b"%bx-response-time: %.3fs\r\n" % (headers, seconds), body)
