"""Takes requests from connections: finds the route, the mode and the model, and has the answer made and sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest, ModelNotFound, NotFound, OrchestratorError, Unauthenticated
from orchestrator.testing.model_server.answer import SPLIT_TEXT, Style
from orchestrator.testing.model_server.anthropic import ANTHROPIC
from orchestrator.testing.model_server.behaviour import Behaviour, Mode
from orchestrator.testing.model_server.catalogue import Catalogue
from orchestrator.testing.model_server.connection import Answering, Connection
from orchestrator.testing.model_server.delivery import Delivery, Pace
from orchestrator.testing.model_server.exchange import Dialect, Exchange, Residency, Route
from orchestrator.testing.model_server.memory import Memory, Resident
from orchestrator.testing.model_server.model import Model
from orchestrator.testing.model_server.ollama import OLLAMA
from orchestrator.testing.model_server.openai import OPENAI
from orchestrator.testing.model_server.plan import TEXT, Plan, Stream, Whole
from orchestrator.testing.model_server.request import Request
from orchestrator.testing.model_server.settings import Settings
from orchestrator.testing.model_server.state import State

DIALECTS = {dialect.name: dialect for dialect in (OPENAI, ANTHROPIC, OLLAMA)}
_AT_ONCE = 256 * 1024
_decode = msgspec.json.decode


class Service:
    """The server without its sockets."""

    def __init__(self, dialects: Iterable[str], models: Iterable[Model | str], settings: Settings) -> None:
        self.dialects = [DIALECTS[name] for name in dialects]
        self.settings = settings
        self.state = State(clock=_now)
        self.behaviour = Behaviour()
        self.catalogue = Catalogue(models)
        self.memory = Memory(settings, self.state.changed)
        self._released: list[asyncio.Future[None]] = []

    def release(self) -> int:
        """Let everything that hangs go on; how many did."""
        released, self._released = self._released, []
        waiting = [future for future in released if not future.done()]
        for future in waiting:
            future.set_result(None)
        return len(waiting)

    async def held(self) -> None:
        """Wait for the next release."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._released.append(future)
        self.state.changed()
        try:
            await future
        finally:
            if future in self._released:
                self._released.remove(future)

    @property
    def hanging(self) -> int:
        """How many requests hang now."""
        return len(self._released)

    def receive(self, connection: Connection, request: Request) -> Answering | None:
        """Answer at once if nothing has to be waited for."""
        call = Call(self, connection, request)
        if not call.delivery.immediate:
            return call
        if call.resident is None and call.must_load:
            call.resident = self.memory.hold(call.must_load)
            if call.resident is None:
                return call
        plan = call.plan()
        if _weight(plan) > _AT_ONCE:
            call.ready = plan
            return call
        call.delivery.send(plan)
        call.finish(disconnected=False)
        return None

    def find(self, request: Request) -> tuple[Dialect, Route | None]:
        """The dialect and route of a request; a path nobody knows is refused in the first dialect's form."""
        dialects = self.dialects
        if "anthropic-version" in request.headers:
            dialects = sorted(dialects, key=lambda dialect: dialect is not ANTHROPIC)
        for dialect in dialects:
            route = dialect.routes.get((request.method, request.path)) or _below(dialect, request)
            if route is not None:
                return dialect, route
        if request.path.startswith("/api/"):
            dialects = sorted(dialects, key=lambda dialect: dialect is not OLLAMA)
        return dialects[0], None

    def authenticate(self, request: Request) -> None:
        """Refuse a request without the required key."""
        wanted = self.settings.required_key
        if wanted is None:
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if wanted not in (given, request.headers.get("x-api-key")):
            raise Unauthenticated("Incorrect API key provided")


class Call:
    """One request being answered."""

    def __init__(self, service: Service, connection: Connection, request: Request) -> None:
        self.service = service
        self.request = request
        self.dialect, self.route = service.find(request)
        self.record = service.state.begin(request)
        self.resident: Resident | None = None
        self.must_load: Model | None = None
        self.keep_alive: float | None = None
        self.load_seconds = 0.0
        self.ready: Plan | None = None
        self.refusal: OrchestratorError | None = None
        self.body: dict[str, Any] = {}
        try:
            self._read()
        except OrchestratorError as error:
            self.refusal = error
        self.mode = self._pick()
        self.delivery = Delivery(
            connection,
            request,
            self.record,
            self.dialect,
            self.mode,
            self._pace(),
            clock=_now,
            held=service.held,
            progressed=service.state.changed,
        )

    async def run(self) -> None:
        """Misbehave, load the model, answer."""
        if await self.delivery.before():
            return
        if self.must_load is not None and self.resident is None:
            begun = _now()
            self.resident = await self.service.memory.load(self.must_load)
            self.load_seconds = _now() - begun
        await self.delivery.run(self.ready or self.plan())

    def finish(self, *, disconnected: bool) -> None:
        """Give the model back and close the record."""
        if self.resident is not None:
            self.service.memory.release(self.resident, self.keep_alive)
        if self.record.first_byte_at is None:
            self.record.status = 0
        self.service.state.finish(self.record, disconnected=disconnected)

    def plan(self) -> Plan:
        """The dialect's answer, or its refusal."""
        try:
            return self._plan()
        except OrchestratorError as error:
            known = error.code if isinstance(error, ModelNotFound) else None
            if self.route is None and self.dialect is OLLAMA:
                return Whole(error.message.encode(), error.status, TEXT)
            return Whole(self.dialect.error(error.status, error.message, known), error.status)

    def _plan(self) -> Plan:
        if self.refusal is not None:
            raise self.refusal
        if self.route is None:
            raise NotFound("404 page not found")
        try:
            return self.route.handle(self._exchange())
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # A body is not checked against a schema: what a handler trips over is of the wrong shape.
            raise InvalidRequest(f"the request has the wrong shape: {error}") from error

    def _read(self) -> None:
        """Authenticate, parse the body, find the model and what it needs."""
        self.service.authenticate(self.request)
        route, request = self.route, self.request
        if route is None:
            return
        if request.body and "/blobs/" not in request.path:
            self.body = _parse(request.body)
            self.record.body = self.body
        if not route.needs_model:
            name = self.body.get("model")
            self._name(name if isinstance(name, str) else "")
            return
        name = self.body.get("model") if self.request.method != "GET" else self.request.path.split("/", 3)[-1]
        if not isinstance(name, str) or not name:
            raise InvalidRequest("model is required")
        self._name(name)
        model = self.service.catalogue.find(name)
        if model is None:
            raise ModelNotFound(name)
        residency = self.dialect.residency(request, self.body) if route.loads else Residency(load=False)
        self.keep_alive = residency.keep_alive
        self.must_load = model if residency.load else None

    def _name(self, name: str) -> None:
        self.record.model = name
        if name:
            self.service.state.by_model[name] += 1

    def _pick(self) -> Mode:
        behaviour = self.service.behaviour
        if not behaviour.any or self.route is None:
            return behaviour.OK
        mode = behaviour.pick(self.request.path, self.record.model, self.route.family)
        self.record.mode = mode.kind
        return mode

    def _pace(self) -> Pace:
        if self.route is None or self.route.family == "health":
            return Pace()
        settings, mode = self.service.settings, self.mode
        first = settings.ttft_ms if mode.ttft_ms is None else mode.ttft_ms
        rate = settings.tokens_per_second if mode.tokens_per_second is None else mode.tokens_per_second
        return Pace(first / 1000, 1 / rate if rate else 0.0)

    def _exchange(self) -> Exchange:
        service, mode = self.service, self.mode
        style = Style(
            tokens=service.settings.tokens if mode.tokens is None else mode.tokens,
            reply=service.settings.reply,
            suffix=SPLIT_TEXT if mode.kind == "split_utf8" else "",
            blob=(mode.after, int(mode.megabytes * 1024 * 1024)) if mode.kind == "huge_line" else None,
            usage=mode.kind != "no_usage",
        )
        return Exchange(
            self.request,
            self.record.number,
            self.body,
            self.record.model,
            style,
            service.settings,
            service.catalogue,
            service.memory,
            datetime.now(UTC),
            self.load_seconds,
        )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _weight(plan: Plan) -> int:
    return sum(len(frame.data) for frame in plan.frames) if isinstance(plan, Stream) else len(plan.body)


def _below(dialect: Dialect, request: Request) -> Route | None:
    """The route that answers everything below a path."""
    parts = request.path.split("/", 3)
    return dialect.routes.get((request.method, f"/{parts[1]}/{parts[2]}/*")) if len(parts) > 3 else None


def _parse(body: bytes) -> dict[str, Any]:
    try:
        parsed = _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"invalid JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise InvalidRequest("the body must be a JSON object")
    return parsed
