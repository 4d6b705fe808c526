"""An answer of a node that is passed on as it comes, for callers that are not on the hot path."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from orchestrator.domain.errors import MalformedAnswer, UpstreamError
from orchestrator.ports.upstream import Call, Receiver, ResponseHead

HIGH_WATER = 256 * 1024  # bytes that wait for a slow reader before the node is held back


class NodeStream(Receiver):
    """`Receiver` of one answer. Set `call` to what `Upstream.send` returned."""

    def __init__(self) -> None:
        self.call: Call | None = None
        self._head: asyncio.Future[ResponseHead] = asyncio.get_running_loop().create_future()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._over = False
        self._error: UpstreamError | None = None

    def on_head(self, head: ResponseHead) -> None:
        if not self._head.done():
            self._head.set_result(head)

    def on_data(self, raw: bytes, body: bytes) -> None:
        self._waiting.append(bytes(body))
        self._size += len(body)
        if self._size > HIGH_WATER and self.call is not None:
            self.call.pause()
        self._changed.set()

    def on_end(self) -> None:
        self._over = True
        self._changed.set()

    def on_error(self, error: UpstreamError) -> None:
        self._over, self._error = True, error
        if not self._head.done():
            self._head.set_exception(error)
        self._changed.set()

    def broken(self, error: Exception) -> None:
        self.on_error(MalformedAnswer(f"The node's answer could not be read: {error}"))

    async def begun(self) -> ResponseHead:
        """Status and headers. Raises UpstreamError."""
        return await self._head

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body. Raises UpstreamError when it breaks off."""
        while True:
            while self._waiting:
                piece = self._waiting.popleft()
                self._size -= len(piece)
                if self._size <= HIGH_WATER // 4 and self.call is not None:
                    self.call.resume()
                yield piece
            if self._over:
                break
            self._changed.clear()
            await self._changed.wait()
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        if self.call is not None:
            self.call.cancel()
