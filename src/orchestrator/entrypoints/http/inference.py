"""The plain form of the data plane: an ASGI application for the inference paths.

It serves what `wire` declines (queries, direct routes, chunked bodies, unusual heads), every request when
`server.data_plane` is `asgi`, and the tests that hold both forms to the same behaviour.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from orchestrator.domain.errors import InvalidRequest, NotFound, OrchestratorError, TooLarge
from orchestrator.entrypoints.http.plane import FORM, DataPlane, DirectRoute
from orchestrator.services.gateway.exchange import Exchange

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HIGH_WATER = 64 * 1024  # bytes that wait for a slow client before its node is held back
_TRUE = ("true", "1")


class AsgiClient:
    """The `ClientSide` of an exchange behind ASGI: callbacks go into a queue that one coroutine sends off."""

    def __init__(self) -> None:
        self._messages: deque[Message | None] = deque()  # None: break off
        self._waiting = 0  # bytes
        self._ready = asyncio.Event()
        self.exchange: Exchange | None = None

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        self._start(status, headers + b"content-length: %d\r\n" % len(body))
        self._put({"type": "http.response.body", "body": body, "more_body": False})

    def begin(self, status: int, headers: bytes) -> None:
        self._start(status, headers)

    def relay(self, raw: bytes, body: bytes) -> None:
        self.write(body)

    def write(self, body: bytes) -> None:
        self._waiting += len(body)
        self._put({"type": "http.response.body", "body": body, "more_body": True})
        if self._waiting > HIGH_WATER and self.exchange is not None:
            self.exchange.client_paused()

    def end(self) -> None:
        self._put({"type": "http.response.body", "body": b"", "more_body": False})

    def abort(self) -> None:
        self._put(None)

    def _start(self, status: int, headers: bytes) -> None:
        lines = [line.partition(b":") for line in headers.split(b"\r\n") if line]
        pairs = [(name.lower(), value.strip()) for name, _, value in lines]
        self._put({"type": "http.response.start", "status": status, "headers": pairs})

    def _put(self, message: Message | None) -> None:
        self._messages.append(message)
        self._ready.set()

    async def deliver(self, send: Send) -> None:
        """Sends until the answer is over. Raises BrokenAnswer when it is to be broken off."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._messages:
                message = self._messages.popleft()
                if message is None:
                    raise BrokenAnswer
                await send(message)
                size = len(message.get("body", b""))
                self._waiting -= size
                if size and self._waiting <= HIGH_WATER // 4 and self.exchange is not None:
                    self.exchange.client_resumed()
                if message["type"] == "http.response.body" and not message["more_body"]:
                    return


class BrokenAnswer(Exception):
    """Leaves the ASGI application without an end of the answer, which makes the server cut the connection."""


class InferenceApp:
    """ASGI: the inference paths here, everything else in `rest`."""

    def __init__(self, plane: DataPlane, rest: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._plane = plane
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._plane.route(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._rest(scope, receive, send)
            return
        client = AsgiClient()
        watcher: asyncio.Task[None] | None = None
        try:
            headers = _headers(scope)
            peer = scope["client"][0] if scope.get("client") else ""
            try:
                self._plane.check_origin(headers)
                principal = self._plane.keyring.authenticate(headers, peer)
                body = await self._body(headers, receive)
            except OrchestratorError as error:
                retry = b"connection: close\r\n" if not isinstance(error, NotFound) else b""
                refusal = self._plane.refusal(route.endpoint, error)
                client.respond(error.status, b"content-type: application/json\r\n" + retry, refusal)
                await client.deliver(send)
                return
            if body is None:
                return
            exchange = self._serve(client, route, scope, headers, principal, peer, body)
            client.exchange = exchange
            watcher = asyncio.create_task(_watch(exchange, receive))
            await client.deliver(send)
        finally:
            if watcher is not None:
                watcher.cancel()
            if client.exchange is not None:
                client.exchange.client_gone()
                client.exchange = None

    def _serve(
        self,
        client: AsgiClient,
        route: DirectRoute,
        scope: Scope,
        headers: dict[bytes, bytes],
        principal: Any,
        peer: str,
        body: bytearray,
    ) -> Exchange:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        return self._plane.gateway.handle(
            client,
            route.endpoint,
            body,
            headers,
            principal,
            peer,
            node_id=route.node_id,
            bypass=bool(route.node_id) and (_flag(query, "bypass") or _flag(query, "force")),
            debug=_flag(query, "debug"),
        )

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytearray | None:
        """The whole body; None when the client left before its end."""
        limit = self._plane.max_body
        kind = headers.get(b"content-type", b"")
        if kind and b"json" not in kind and not kind.startswith((FORM, b"text/plain")):
            raise InvalidRequest("The body must be JSON (Content-Type: application/json).")
        if int(headers.get(b"content-length", b"0")) > limit:
            raise TooLarge(f"The body is over the limit of {limit} bytes.")
        body = bytearray()
        while True:
            try:
                async with asyncio.timeout(self._plane.body_timeout):
                    message = await receive()
            except TimeoutError:
                raise InvalidRequest("The body did not arrive in time.") from None
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > limit:
                raise TooLarge(f"The body is over the limit of {limit} bytes.")
            if not message.get("more_body"):
                return body


async def _watch(exchange: Exchange, receive: Receive) -> None:
    """Tells the exchange when its client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.client_gone()


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Lower-case names; of a repeated header the first counts, as it does for a cautious reader."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name, value)
    return headers


def _flag(query: dict[str, list[str]], name: str) -> bool:
    return query.get(name, [""])[-1].lower() in _TRUE
