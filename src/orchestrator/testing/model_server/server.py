"""The model server: sockets, the in-process API, and life and death."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from orchestrator.domain.errors import ConfigurationError
from orchestrator.testing.model_server.behaviour import Behaviour, Kind, Rule
from orchestrator.testing.model_server.connection import Answering, Connection
from orchestrator.testing.model_server.control import Control
from orchestrator.testing.model_server.model import Model
from orchestrator.testing.model_server.request import Request
from orchestrator.testing.model_server.service import DIALECTS, Service
from orchestrator.testing.model_server.settings import Settings
from orchestrator.testing.model_server.state import Received

DEFAULT_MODEL = "demo"


class ModelServer:
    """A fake model server that speaks OpenAI's, Anthropic's and Ollama's dialect and fails on command.

        async with ModelServer(models=["llama3:8b"]) as server:
            server.mode("cut", after=3, times=1)
            ...  # talk to server.url
            assert server.requests[-1].body["stream"] is True

    `models` are names or `Model`s; `dialects` are of "openai", "anthropic" and "ollama" (default: all); `settings` are
    the fields of `Settings`: `ttft_ms`, `tokens_per_second`, `tokens`, `reply`, `embedding_dim`, `load_delay_ms`,
    `vram` in bytes, `required_key`, `version`. Port 0 takes a free one, which `restart()` then keeps.
    Use it from one event loop.
    """

    def __init__(
        self,
        models: Iterable[Model | str] = (DEFAULT_MODEL,),
        *,
        dialects: Iterable[str] = tuple(DIALECTS),
        host: str = "127.0.0.1",
        port: int = 0,
        **settings: Any,
    ) -> None:
        chosen = tuple(dialects)
        if not chosen or (unknown := set(chosen) - set(DIALECTS)):
            raise ConfigurationError(f"unknown dialects: {sorted(unknown) if chosen else 'none given'}")
        self.host = host
        self.port = port
        self.settings = Settings(**settings)
        self.service = Service(chosen, tuple(models), self.settings)
        self._control = Control(self.service)
        self._connections: set[Connection] = set()
        self._listening: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end and without `/v1`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the server listens."""
        return self._listening is not None

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: Connection(self), self.host, self.port, backlog=4096)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Die as a killed process does: stop listening and reset every connection, at once; memory is lost.

        What was received stays in `requests`, and the port is kept for `restart()`.
        """
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for connection in list(self._connections):
            connection.reset()
        self.service.memory.clear()
        while self._connections or self.in_flight:
            await self.service.state.change()

    async def restart(self) -> None:
        """Listen again on the same port."""
        await self.kill()
        await self.start()

    def mode(
        self,
        kind: Kind = "ok",
        *,
        path: str | None = None,
        model: str | None = None,
        routes: Literal["inference", "health", "library", "all"] = "inference",
        times: int | None = None,
        **options: Any,
    ) -> None:
        """Behave so from the next request on; `options` are the fields of `Mode`, the selectors those of `Rule`.

        Without selectors it replaces the earlier mode without selectors: `mode()` makes all well again. Raises
        `ConfigurationError` for a kind or option that does not exist.
        """
        given = {"mode": {"kind": kind, **options}, "path": path, "model": model, "routes": routes, "times": times}
        try:
            self.service.behaviour.add(msgspec.convert(msgspec.to_builtins(given), Rule))
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"mode {kind!r}: {error}") from error

    def release(self) -> int:
        """Let every request that hangs go on; how many did."""
        return self.service.release()

    def reset(self) -> None:
        """Forget faults, counters, requests, loaded models and changes to the list of models; release what hangs."""
        self._control.reset()

    def set_models(self, models: Iterable[Model | str]) -> None:
        """Offer exactly these models from now on."""
        self.service.catalogue.replace(models)

    @property
    def requests(self) -> list[Received]:
        """The last 1,000 requests, oldest first, the control plane's not among them."""
        return list(self.service.state.received)

    @property
    def behaviour(self) -> Behaviour:
        """The rules in force."""
        return self.service.behaviour

    @property
    def in_flight(self) -> int:
        """Requests that are being answered."""
        return self.service.state.in_flight

    @property
    def hanging(self) -> int:
        """Requests that hang until `release()`."""
        return self.service.hanging

    @property
    def disconnects(self) -> int:
        """Requests whose client left before the end."""
        return self.service.state.disconnects

    @property
    def loaded(self) -> list[str]:
        """Names of the models in memory, most recently used first."""
        return [resident.model.tagged for resident in self.service.memory.resident]

    def state(self) -> dict[str, Any]:
        """What `GET /_control/state` answers."""
        return self._control.state()

    async def wait_for(self, predicate: Callable[[ModelServer], bool], timeout: float = 5.0) -> None:
        """Wait until `predicate(self)` holds; it is looked at whenever something happens, not by polling.

        Raises `TimeoutError` with the state after `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while not predicate(self):
                    await self.service.state.change()
        except TimeoutError:
            state = self.state()
            state["requests"] = state["requests"][-3:]
            raise TimeoutError(f"not so within {timeout} s: {state}") from None

    # What a connection calls.

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        self._connections.add(connection)
        self.service.state.connections = len(self._connections)
        self.service.state.changed()
        if not self.running:
            connection.reset()

    def receive(self, connection: Connection, request: Request) -> Answering | None:
        """Answer a request."""
        if request.path.startswith("/_control"):
            connection.write(self._control.answer(request))
            return None
        return self.service.receive(connection, request)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self.service.state.connections = len(self._connections)
        self.service.state.changed()
