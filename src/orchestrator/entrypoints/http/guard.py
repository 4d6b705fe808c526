"""What every HTTP request passes before its route: the Host and Origin checks, the body limit, the security headers.

A plain ASGI wrapper: `BaseHTTPMiddleware` would cost more than the routes behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import msgspec
from fastapi.requests import HTTPConnection

from orchestrator.domain.errors import InvalidRequest, OrchestratorError, TooLarge
from orchestrator.entrypoints.http import failure
from orchestrator.entrypoints.http.inference import InferenceApp, Message, Receive, Scope, Send
from orchestrator.entrypoints.http.plane import DataPlane

# The API needs nothing a browser could load; pages set their own policy.
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def host_name(value: bytes) -> str:
    """The name of a Host header without its port, lower-case; empty when it is malformed."""
    text = value.decode("latin-1").strip().lower()
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        return name if bracket and (not port or (port[:1] == ":" and port[1:].isdigit())) else ""
    name, colon, port = text.partition(":")
    if colon and not port.isdigit():
        return ""
    return name.rstrip(".") if name and all(c.isalnum() or c in ".-_" for c in name) else ""


def host_rule(own: str, allowed: tuple[str, ...]) -> Callable[[bytes], bool]:
    """Which Host headers are ours: loopback names, the address bound to, and the operator's list (`*`: all of them).
    A service bound to every address answers to each address literal, which no rebinding attack can use."""
    everything = "*" in allowed
    names = _LOOPBACK_NAMES | {own.lower()} | {name.lower() for name in allowed}
    unspecified = own in ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
    seen: set[bytes] = set()

    def check(value: bytes) -> bool:
        if value in seen:
            return True
        name = host_name(value)
        good = bool(name) and (everything or name in names or (unspecified and _is_address(name)))
        if good and len(seen) < 1000:
            seen.add(value)
        return good

    return check


def origin_rule(allowed: tuple[str, ...]) -> Callable[[bytes, bytes], bool]:
    """Which pages may call: those of this service itself, and of the origins in `server.cors_origins`."""
    origins = {origin.rstrip("/").lower().encode() for origin in allowed}

    def check(origin: bytes, host: bytes) -> bool:
        if b"*" in origins or origin.lower() in origins:
            return True
        scheme, _, name = origin.partition(b"://")
        return scheme in (b"http", b"https") and name.lower() == host.lower()

    return check


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI: checks, then the data plane, then the control plane."""

    def __init__(
        self,
        plane: DataPlane,
        control: Callable[[Scope, Receive, Send], object],
        body_limit: Callable[[Scope], int] | None = None,
    ) -> None:
        """`body_limit` tells how many bytes the body of a request may have; None: `plane.max_body` holds for all."""
        self._plane = plane
        self._body_limit = body_limit or (lambda scope: plane.max_body)
        self._app = InferenceApp(plane, control)  # type: ignore[arg-type]  # Starlette's own types name the same shape

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        limit = self._body_limit(scope)
        try:
            self._check(headers, limit)
        except OrchestratorError as error:
            await self._refuse(scope, send, error)
            return
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                present = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(pair for pair in SECURITY_HEADERS if pair[0] not in present),
                ]
            await send(message)

        await self._app(scope, _Limited(receive, limit), guarded)

    def _check(self, headers: list[tuple[bytes, bytes]], limit: int) -> None:
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in (b"host", b"origin"):
                if name in found:
                    raise InvalidRequest(f"The header {name.decode()} is repeated.")
                found[name] = value
            elif name == b"content-length" and value.isdigit() and int(value) > limit:
                raise TooLarge(f"The body is over the limit of {limit} bytes.")
        self._plane.check_origin(found)

    async def _refuse(self, scope: Scope, send: Send, error: OrchestratorError) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": error.message})
            return
        route = self._plane.route(scope["path"])
        if route is not None:
            body = self._plane.refusal(route.endpoint, error)
        else:
            body = msgspec.json.encode(failure.body_of(HTTPConnection(scope), error, self._plane.gateway.clock))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *SECURITY_HEADERS,
        ]
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Limited:
    """`receive` that raises TooLarge for a body which grows over the limit."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = self._left = limit

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise TooLarge(f"The body is over the limit of {self._limit} bytes.")
        return message
