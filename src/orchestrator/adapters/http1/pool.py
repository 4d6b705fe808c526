"""Connections to model servers: last in, first out, so that a busy fleet keeps few and fresh ones."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping

from orchestrator.adapters.http1.connection import Connection, PooledCall
from orchestrator.adapters.http1.fetch import Fetch
from orchestrator.domain.errors import ConnectFailed, UpstreamTimeout
from orchestrator.ports.upstream import FetchResponse, Receiver, Target

IDLE_SECONDS = 30.0


class ConnectionPool:
    """Implements `ports.upstream.Upstream` on asyncio transports."""

    def __init__(self, *, max_idle_per_target: int = 256) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle: dict[str, list[Connection]] = {}
        self._max_idle = max_idle_per_target
        self._connecting: set[asyncio.Task[None]] = set()
        self._tls: ssl.SSLContext | None = None
        self._sweeper = self._loop.call_later(IDLE_SECONDS, self._sweep)

    def send(
        self,
        target: Target,
        head: bytes,
        body: bytes | bytearray,
        receiver: Receiver,
        connect_timeout: float,
        *,
        bodiless: bool = False,
    ) -> PooledCall:
        """See `ports.upstream.Upstream.send`. `bodiless` marks a HEAD request."""
        call = PooledCall(self, target, head, body, receiver)
        call.bodiless = bodiless
        idle = self._idle.get(target.key)
        while idle:
            connection = idle.pop()
            if not connection.closed and not connection.transport.is_closing():
                call.reused = True
                connection.start(call)
                return call
        self._connect(call, connect_timeout)
        return call

    def send_again(self, call: PooledCall, connect_timeout: float = 5.0) -> None:
        """The server closed an idle connection just as it was taken: not a fault, so it goes out on a new one."""
        call.reused = False
        if call.receiver is not None:
            self._connect(call, connect_timeout)

    def put_back(self, connection: Connection) -> None:
        idle = self._idle.get(connection.target.key)
        if idle is None:
            idle = self._idle[connection.target.key] = []
        if len(idle) >= self._max_idle:
            connection.abandon()
            return
        connection.idle_since = time.monotonic()
        idle.append(connection)

    def discard(self, connection: Connection) -> None:
        idle = self._idle.get(connection.target.key)
        if idle and connection in idle:
            idle.remove(connection)

    def keep_idle(self, count: int) -> None:
        self._max_idle = count

    def forget(self, target: Target) -> None:
        for connection in self._idle.pop(target.key, []):
            connection.abandon()

    async def fetch(
        self,
        target: Target,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout: float,
        max_body: int = 32 << 20,
    ) -> FetchResponse:
        fetch = Fetch(self._loop.create_future(), max_body)
        head = fetch.request_head(target, method, path, headers or {}, len(body))
        call = self.send(target, head, body, fetch, timeout, bodiless=method == "HEAD")
        fetch.call = call
        try:
            async with asyncio.timeout(timeout):
                return await fetch.done
        except TimeoutError:
            raise UpstreamTimeout(f"No answer within {timeout:g} s.") from None
        finally:
            call.cancel()

    async def close(self) -> None:
        self._sweeper.cancel()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for idle in self._idle.values():
            for connection in idle:
                connection.abandon()
        self._idle.clear()

    def _connect(self, call: PooledCall, timeout: float) -> None:
        task = self._loop.create_task(self._open(call, timeout))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self, call: PooledCall, timeout: float) -> None:
        target = call.target
        try:
            async with asyncio.timeout(timeout):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self, target),
                    target.host,
                    target.port,
                    ssl=self._tls_context() if target.tls else None,
                    server_hostname=(target.name or target.host) if target.tls else None,
                )
        except TimeoutError:
            call.fail(UpstreamTimeout(f"No connection within {timeout:g} s."))
        except (OSError, ssl.SSLError) as error:
            call.fail(ConnectFailed(f"The node could not be reached: {error.strerror or error}."))
        else:
            if call.receiver is None:  # cancelled meanwhile: another request may use the connection
                self.put_back(connection)
            else:
                connection.start(call)

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _sweep(self) -> None:
        """Closes what has been idle for long; the oldest are at the front."""
        limit = time.monotonic() - IDLE_SECONDS
        for key, idle in list(self._idle.items()):
            stale = 0
            while stale < len(idle) and idle[stale].idle_since < limit:
                idle[stale].abandon()
                stale += 1
            del idle[:stale]
            if not idle:
                del self._idle[key]
        self._sweeper = self._loop.call_later(IDLE_SECONDS, self._sweep)
