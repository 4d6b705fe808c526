"""What both forms of the data plane share: paths, credentials, the Host check, error answers to broken requests.

The fast form (`wire`) lives in uvicorn's protocol, below ASGI; the plain form (`inference`) is an ASGI application with
the same behaviour. The plain one serves what the fast one declines: queries, unusual headers, chunked bodies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import msgspec

from orchestrator.domain.access import Principal
from orchestrator.domain.dialects import ENDPOINTS, Endpoint, error_body
from orchestrator.domain.errors import Forbidden, OrchestratorError, UnknownHost
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.keys import Keyring

FORM = b"application/x-www-form-urlencoded"  # what curl -d sends; Ollama takes it, and so do we


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """A path as `/api/generate--a` names it: an endpoint on one node."""

    endpoint: Endpoint
    node_id: str


class Client(Protocol):
    """The connection of a request, as far as its answer goes."""

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """The whole answer; `headers` are whole lines."""


class DirectCall(Protocol):
    """A `POST` besides inference that the fast form serves. What it does not admit the application answers."""

    def admits(self, headers: Mapping[bytes, bytes], principal: Principal) -> bool: ...

    def serve(self, client: Client, headers: Mapping[bytes, bytes], principal: Principal, body: bytes) -> None:
        """Answers by `client.respond`, now or later. Never raises."""


STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


def status_line(status: int) -> bytes:
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


class DataPlane:
    """Shared by all connections of a process."""

    def __init__(
        self,
        gateway: Gateway,
        keyring: Keyring,
        host_allowed: Callable[[bytes], bool],
        origin_allowed: Callable[[bytes, bytes], bool],
        *,
        max_body: int,
        max_header: int,
        keep_alive: float,
        body_timeout: float,
    ) -> None:
        """Sizes are in bytes, times in seconds."""
        self.gateway = gateway
        self.keyring = keyring
        self.host_allowed = host_allowed
        self.origin_allowed = origin_allowed  # (Origin, Host)
        self.max_body = max_body
        self.max_header = max_header
        self.keep_alive = keep_alive
        self.body_timeout = body_timeout
        self.endpoints: dict[bytes, Endpoint] = {path.encode(): end for path, end in ENDPOINTS.items()}
        self.call: Callable[[bytes], DirectCall | None] = lambda path: None
        self._dated: list[tuple[bytes, bytes]] | None = None
        self._openings: dict[int, bytes] = {}

    def check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises UnknownHost for a Host that is not ours (DNS rebinding), Forbidden for a page of another site."""
        host = headers.get(b"host", b"")
        if not self.host_allowed(host):
            raise UnknownHost(f"This service does not answer to the host name '{host[:100].decode('latin-1')}'.")
        origin = headers.get(b"origin")
        if origin is not None and not self.origin_allowed(origin, host):
            raise Forbidden(f"Pages of '{origin[:100].decode('latin-1')}' may not use this service.")

    def opening(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The status line and uvicorn's default headers, whose list is a new one when a second has passed."""
        if headers is not self._dated:
            self._dated = headers
            self._openings.clear()
        opening = self._openings.get(status)
        if opening is None:
            lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            opening = self._openings[status] = status_line(status) + lines
        return opening

    def route(self, path: str) -> DirectRoute | None:
        """The endpoint of a path; None when the path is not an inference path."""
        base, dashes, node_id = path.partition("--")
        endpoint = ENDPOINTS.get(base)
        if endpoint is None or (dashes and not node_id):
            return None
        return DirectRoute(endpoint, node_id)

    @staticmethod
    def refusal(endpoint: Endpoint, error: OrchestratorError, request_id: str = "") -> bytes:
        """The body of an error in the endpoint's dialect."""
        return msgspec.json.encode(error_body(endpoint.dialect, error, request_id=request_id))
