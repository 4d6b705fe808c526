"""Serves until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import uvicorn
import uvloop

from orchestrator import __version__
from orchestrator.bootstrap.seams import PLAIN, Seams
from orchestrator.bootstrap.service import Service, assemble
from orchestrator.bootstrap.telemetry import observed, open_logs
from orchestrator.domain.errors import ConfigurationError
from orchestrator.entrypoints.http.app import application, data_plane
from orchestrator.entrypoints.http.plane import DataPlane
from orchestrator.entrypoints.http.tasks.socket_port import with_socket_port
from orchestrator.entrypoints.http.wire import WireProtocol, wire_protocol
from orchestrator.settings import Loaded, Settings, check_exposure

BACKLOG = 4096
SOCKET_MESSAGE = 16 * 1024  # bytes of a message that a WebSocket's client sends
GC_THRESHOLD = (20_000, 20, 100)  # exchanges are freed by reference counts; Python's default costs 10 % of a core
SWEEP = 1.0  # seconds between two looks at idle client connections
LAST_WORDS = 1.0  # seconds of the grace time kept for telling clients that it is over

_log = logging.getLogger("orchestrator.service")
Started = Callable[[Service, int], None]


class Server(uvicorn.Server):
    """uvicorn, with readiness off at the first signal, an end to the streams that outlast the grace, and exit 0."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when it is done, which would make a clean stop look like a crash.
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, self.handle_exit, sig, None)
        try:
            yield
        finally:
            for sig in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(sig)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        _log.info("service_stopping", extra={"active": len(self._service.gateway.active)})
        self._service.ready = False
        self._service.stopping.set()
        self._service.task_parts.carrier.end_polls()
        self._service.gateway.close()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        grace = self._service.settings.server.grace
        interrupt = self._service.gateway.interrupt
        ending = asyncio.get_running_loop().call_later(max(0.0, grace - LAST_WORDS), interrupt)
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()


def server_config(service: Service, plane: DataPlane) -> uvicorn.Config:
    server = service.settings.server
    own_port = service.settings.tasks.websocket_port
    return uvicorn.Config(
        application(service, plane),
        http=with_socket_port(wire_protocol(plane, inline=server.data_plane == "protocol"), own_port),
        ws="websockets-sansio",
        ws_max_size=SOCKET_MESSAGE,
        ws_per_message_deflate=False,  # a few hundred bytes an event are not worth a compressor for each follower
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, int(server.keep_alive)),
        timeout_graceful_shutdown=max(1, int(server.grace)),
        backlog=BACKLOG,
    )


def listen(settings: Settings) -> list[socket.socket]:
    """One socket per address. Raises ConfigurationError for an address that cannot be had."""
    server = settings.server
    addresses = [(server.host, server.port), *((one.host or server.host, one.port) for one in server.listeners)]
    if settings.tasks.websocket_port:
        addresses.append((server.host, settings.tasks.websocket_port))
    sockets: list[socket.socket] = []
    for host, port in addresses:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            for one in (*sockets, sock):
                one.close()
            raise ConfigurationError(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with --port or server.port."
            ) from None
        sockets.append(sock)
    return sockets


async def serve(
    loaded: Loaded,
    started: Started | None = None,
    seams: Seams = PLAIN,
    sockets: Sequence[socket.socket] = (),
) -> None:
    """Runs the service until SIGTERM or SIGINT, on `sockets` or those that the settings name. `started(service, port)`
    is called when it listens.

    Raises ConfigurationError and StorageUnavailable before anything listens.
    """
    with open_logs(loaded.settings) as logs:
        check_exposure(loaded.settings)
        sockets = sockets or listen(loaded.settings)
        try:
            async with assemble(loaded, logs.redactor.hide, seams) as service:
                with observed(service, logs):
                    await _serve(service, sockets, started)
            _log.info("service_stopped")
        finally:
            for sock in sockets:
                sock.close()


async def _serve(service: Service, sockets: Sequence[socket.socket], started: Started | None) -> None:
    plane = data_plane(service)
    server = Server(server_config(service, plane), service)
    helpers = [
        asyncio.create_task(_sweep(server, plane)),
        asyncio.create_task(_announce(server, service, sockets[0].getsockname()[1], started)),
    ]
    gc.set_threshold(*GC_THRESHOLD)
    gc.collect()
    gc.freeze()  # what lives as long as the process need not be looked at again
    try:
        await server.serve(list(sockets))
    finally:
        for task in helpers:
            task.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)


async def _announce(server: Server, service: Service, port: int, started: Started | None) -> None:
    await server.listening.wait()
    service.ready = True
    service.stop = lambda: server.handle_exit(signal.SIGTERM, None)
    fields = {"version": __version__, "port": port, "nodes": len(service.fleet.nodes)}
    _log.info("service_started", extra=fields)
    if started is not None:
        started(service, port)


async def _sweep(server: Server, plane: DataPlane) -> None:
    """Closes client connections that have been idle, or half-sent, for too long."""
    while True:
        await asyncio.sleep(SWEEP)
        now = plane.gateway.clock.now
        for connection in list(server.server_state.connections):
            if isinstance(connection, WireProtocol):
                connection.expire(now)


def run(
    loaded: Loaded,
    started: Started | None = None,
    seams: Seams = PLAIN,
    sockets: Sequence[socket.socket] = (),
) -> None:
    """`serve` in a new event loop. Returns when the service has stopped in good order."""
    uvloop.run(serve(loaded, started, seams, sockets))
