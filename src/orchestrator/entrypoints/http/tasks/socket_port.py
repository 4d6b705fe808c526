"""The predecessor's WebSocket port: on it, a WebSocket at any path follows the events.

Everything else is as on the main port: what the wire checks, the names in Host and Origin, the keys.
"""

from __future__ import annotations

from typing import cast

from orchestrator.entrypoints.http.wire import SOCKET_PATH, WireProtocol

SOCKET = SOCKET_PATH.decode()


class _AnyPath(WireProtocol):
    port: int

    def _should_upgrade(self) -> bool:
        if self.server is not None and self.server[1] == self.port and self._get_upgrade() == b"websocket":
            _, mark, query = self.url.partition(b"?")
            self.url = SOCKET_PATH + mark + query
        return super()._should_upgrade()


def with_socket_port(protocol: type[WireProtocol], port: int) -> type[WireProtocol]:
    """The protocol class, for one more listener at this port. 0: there is none."""
    if not port:
        return protocol
    return cast("type[WireProtocol]", type("SocketPortProtocol", (_AnyPath, protocol), {"port": port}))
