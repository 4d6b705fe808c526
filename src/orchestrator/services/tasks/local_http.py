"""Tasks that make one HTTP request. A name is looked up here and judged by its addresses, and the connection goes to
the address that was judged; redirects are not followed."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from orchestrator.domain.errors import ConnectFailed, InvalidRequest, OrchestratorError, UpstreamError
from orchestrator.domain.http_hosts import HttpHosts
from orchestrator.domain.task.task import MAX_RESULT, Task
from orchestrator.domain.worker_hosts import is_host, read_address
from orchestrator.ports.upstream import FetchResponse, Target, Upstream
from orchestrator.services.tasks.local import failure
from orchestrator.services.tasks.scheduler import Report

TYPE = "http"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
AGAIN = frozenset({408, 425, 429})
PORTS = {"http": 80, "https": 443}
REFUSED = frozenset(
    {"host", "content-length", "connection", "transfer-encoding", "upgrade", "te", "trailer", "expect", "keep-alive"}
)
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

    def __init__(self, upstream: Upstream, hosts: HttpHosts, taken: Callable[[str], bool]) -> None:
        """`taken` tells whether some node would take a task of a type."""
        self.hosts = hosts
        self._upstream = upstream
        self._taken = taken

    def wanted(self, task_type: str, others: bool) -> bool:
        """Without hosts every task fails, which is better than waiting for ever; where some node takes it, it may."""
        return not others and (bool(self.hosts) or not self._taken(task_type))

    @property
    def ready(self) -> bool:
        return bool(self.hosts)

    async def run(self, task: Task) -> Report:
        if not self.hosts:
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
        except OrchestratorError as error:
            return failure(error.message, final=True)
        if answer.status >= 500 or answer.status in AGAIN:
            text = answer.body[:300].decode("utf-8", "replace").strip()
            return failure(f"the server answered HTTP {answer.status}: {text}")
        return Report(True, msgspec.json.encode(_shown(answer)))

    async def _fetch(self, method: str, asked: HttpRequestBody, limit: float) -> FetchResponse:
        """Raises InvalidRequest for a URL or header that is wrong or not allowed, and what `Upstream.fetch` raises."""
        host, port, tls, path = _parts(asked.url)
        headers, body = _content(asked)
        target = await self._target(host, port, tls)
        try:
            return await self._upstream.fetch(
                target, method, path, headers=headers, body=body, timeout=limit, max_body=MAX_RESULT
            )
        finally:
            self._upstream.forget(target)

    async def _target(self, host: str, port: int, tls: bool) -> Target:
        literal = read_address(host)
        for text in [str(literal)] if literal is not None else await _look_up(host, port):
            address = read_address(text)
            if address is not None and self.hosts.permits(host, address):
                return Target(f"task:{tls}:{host}:{address}:{port}", str(address), port, tls, name=host)
        raise InvalidRequest(f"input_data.url: '{host}' is not where tasks may connect to (tasks.http_hosts)")


def _parts(url: str) -> tuple[str, int, bool, str]:
    """Host, port, whether TLS, path with query. Raises InvalidRequest."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        raise InvalidRequest("input_data.url: not a URL") from None
    host = parts.hostname or ""
    if not port or not is_host(host) or "@" in parts.netloc:
        raise InvalidRequest("input_data.url: http://HOST[:PORT]/PATH or https, without a user name")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidRequest("input_data.url: other characters than ASCII must be percent-encoded")
    return host, port, parts.scheme == "https", path


def _content(asked: HttpRequestBody) -> tuple[Mapping[str, str], bytes]:
    """Headers and body: text goes as it is, anything else as JSON. Raises InvalidRequest."""
    headers = dict(asked.headers)
    names = {name.lower() for name in headers}
    for name in headers:
        if name.lower() in REFUSED or not name or any(letter in name for letter in ": \t"):
            raise InvalidRequest(f"input_data.headers: {name[:100]!r} cannot be set")
    if any(not value.isascii() for value in headers.values()):
        raise InvalidRequest("input_data.headers: ASCII only")
    if "accept-encoding" not in names:
        headers["Accept-Encoding"] = "identity"
    if asked.body is None:
        return headers, b""
    if isinstance(asked.body, str):
        return headers, asked.body.encode()
    if "content-type" not in names:
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


async def _look_up(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectFailed(f"'{host}': {error}") from None
    return [str(entry[4][0]).partition("%")[0] for entry in found]
