"""Tasks that make one HTTP request, by `Egress`; redirects are not followed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest, UpstreamError
from orchestrator.domain.task.task import MAX_RESULT, Task
from orchestrator.ports.upstream import FetchResponse
from orchestrator.services.egress import Egress
from orchestrator.services.tasks.local import failure
from orchestrator.services.tasks.report import Report

TYPE = "http"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
AGAIN = frozenset({408, 425, 429})
OFF = "tasks of the type http are off: the operator has named no hosts (tasks.http_hosts)"


class HttpRequestBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `input_data` says."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: Any = None
    timeout: float | None = None


_decode = msgspec.json.Decoder(HttpRequestBody).decode


class HttpRequests:
    """`Handler`."""

    def __init__(self, egress: Egress, taken: Callable[[str], bool]) -> None:
        """`taken` tells whether some node would take a task of a type."""
        self._egress = egress
        self._taken = taken

    def wanted(self, task_type: str, others: bool) -> bool:
        """Without hosts every task fails, which is better than waiting for ever; where some node takes it, it may."""
        return not others and (bool(self._egress.hosts) or not self._taken(task_type))

    @property
    def ready(self) -> bool:
        return bool(self._egress.hosts)

    async def run(self, task: Task) -> Report:
        if not self._egress.hosts:
            return failure(OFF, final=True)
        try:
            asked = _decode(task.spec.input)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return failure(f"input_data: {error}", final=True)
        method = asked.method.upper()
        if method not in METHODS:
            return failure(f"input_data.method: one of {', '.join(METHODS)}", final=True)
        limit = task.spec.timeout if asked.timeout is None else min(max(asked.timeout, 0.001), task.spec.timeout)
        try:
            answer = await self._fetch(method, asked, limit)
        except UpstreamError as error:
            return failure(error.message)
        except InvalidRequest as error:
            return failure(f"input_data.{error.message}", final=True)
        if answer.status >= 500 or answer.status in AGAIN:
            text = answer.body[:300].decode("utf-8", "replace").strip()
            return failure(f"the server answered HTTP {answer.status}: {text}")
        return Report(True, msgspec.json.encode(_shown(answer)))

    async def _fetch(self, method: str, asked: HttpRequestBody, limit: float) -> FetchResponse:
        headers, body = _content(asked)
        return await self._egress.fetch(
            method, asked.url, headers=headers, body=body, timeout=limit, max_body=MAX_RESULT
        )


def _content(asked: HttpRequestBody) -> tuple[dict[str, str], bytes]:
    """Headers and body: text goes as it is, anything else as JSON."""
    headers = dict(asked.headers)
    if asked.body is None:
        return headers, b""
    if isinstance(asked.body, str):
        return headers, asked.body.encode()
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    return headers, msgspec.json.encode(asked.body)


def _shown(answer: FetchResponse) -> dict[str, Any]:
    """The result of a task. A body that is no text is in `body_base64`."""
    shown = {"status": answer.status, "headers": dict(answer.headers)}
    try:
        text = answer.body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return {**shown, "body": None, "body_base64": base64.b64encode(answer.body).decode()}
    return {**shown, "body": text}
