"""What happens to tasks and nodes, as it happens: by server-sent events and by WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import Query, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import InvalidRequest, NotFound, OrchestratorError, RateLimited, StorageUnavailable
from orchestrator.entrypoints.http.permission import Requires, requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.entrypoints.http.tasks.envelope import tasks_router
from orchestrator.entrypoints.http.tasks.node_view import worker_details
from orchestrator.entrypoints.http.tasks.picture import alerts, iso, status
from orchestrator.services.tasks.bulletin import Heard, Missed
from orchestrator.services.tasks.events import EVENTS, Event

ROUNDED = 1e-6  # seconds, of the times in events
router = tasks_router("events")
MAY_READ = Requires(Permission.TASKS_READ)
READ = requires(Permission.TASKS_READ)
SSE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
SUBPROTOCOL = "orchestrator"  # what is chosen of those that a client offers
STATUS_SECONDS = 5.0
SHARED = 1.0  # seconds
GOING_AWAY, POLICY = 1001, 1008  # RFC 6455, 7.4.1
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

UNKNOWN = 1 << 62  # stands for an id that is none of ours

Types = Annotated[str, Query(alias="type", max_length=1_000)]
Task = Annotated[str, Query(max_length=512)]
Since = Annotated[str, Query(max_length=100)]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which events a follower asked for."""

    types: Collection[str]
    task: str
    since: float | None

    def has(self, event: Event) -> bool:
        return (
            event.type in self.types
            and (self.since is None or event.at >= self.since)
            and (not self.task or event.data.get("task_id") == self.task)
        )


@router.get("/events")
async def stream_events(
    request: Request,
    types: Types = "",
    task: Task = "",
    since: Since = "",
    last_event_id: str = "",
    principal: Principal = READ,
) -> StreamingResponse:
    """Server-sent events, each with `type`, `data`, `timestamp` and `sequence`; only those of `type` (several by
    commas) and of `task`. After Last-Event-ID (or `last_event_id`), or from the moment `since` on (RFC 3339 or seconds
    since the epoch), the kept ones come first; `missed` says that some are not there, `end` that the service stops. 429
    when too many follow."""
    service: HttpService = request.app.state.service
    wanted = _wanted(types, task, since)
    after = await _after(service, request.headers.get("last-event-id") or last_event_id, wanted.since)
    _check_room(service, "stream")
    found = service.bulletin.follow(after, service.stopping)
    return StreamingResponse(_stream(service, wanted, found), media_type="text/event-stream", headers=SSE)


async def _stream(service: HttpService, wanted: _Wanted, found: AsyncGenerator[Heard]) -> AsyncIterator[bytes]:
    with _counted(service, "stream"):
        yield b": open\n\n"
        async with aclosing(found):
            async for one in found:
                if isinstance(one, Missed):
                    yield _frame(one.number, "missed", _reason(one))
                elif not isinstance(one, Event):
                    yield b": quiet\n\n"
                elif wanted.has(one):
                    yield _frame(one.number, one.type, _shown(one))
        yield b'event: end\ndata: {"reason":"shutdown"}\n\n'


@router.websocket("/ws")
async def follow(
    websocket: WebSocket,
    types: Types = "",
    task: Task = "",
    since: Since = "",
    last_event_id: str = "",
    principal: Principal = READ,
) -> None:
    """The same by WebSocket: `initial_status`, then events, and `network_status` every 5 s. Its messages `ping`,
    `subscribe_to_alerts` and `request_node_details` are answered. Closed with 1001 when the service stops, with 1008
    when the key is no longer good."""
    service: HttpService = websocket.app.state.service
    wanted = _wanted(types, task, since)
    after = await _after(service, last_event_id, wanted.since)
    _check_room(service, "websocket")
    with _counted(service, "websocket"):
        await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None)
        socket = _Socket(websocket, service)
        ways = [asyncio.create_task(one) for one in (socket.events(wanted, after), socket.statuses(), socket.answers())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            ended = await asyncio.gather(*ways, return_exceptions=True)
        await socket.close(ended)


class _Socket:
    """One WebSocket, from its acceptance on."""

    def __init__(self, websocket: WebSocket, service: HttpService) -> None:
        self._websocket = websocket
        self._service = service
        self._alerted: set[str] | None = None  # alerts that were told; None: nobody asked for them

    async def events(self, wanted: _Wanted, after: int | None) -> None:
        """Ends when the service stops."""
        service = self._service
        async with aclosing(service.bulletin.follow(after, service.stopping)) as found:
            await self._status("initial_status")
            async for one in found:
                if isinstance(one, Missed):
                    more = {"sequence": one.number, "id": str(one.number)}
                    await self._send({"type": "missed", "data": _reason(one), **more})
                elif isinstance(one, Event) and wanted.has(one):
                    await self._send({**_shown(one), "id": str(one.number)})

    async def statuses(self) -> None:
        """Raises Unauthenticated and Forbidden when the key is no longer good."""
        while True:
            await asyncio.sleep(STATUS_SECONDS)
            await MAY_READ(self._websocket)
            await self._status("network_status")
            await self._alerts()

    async def answers(self) -> None:
        """Raises WebSocketDisconnect when the client leaves."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            await self._send(self._reply(message.get("text") or message.get("bytes") or ""))

    async def close(self, ended: list[Any]) -> None:
        """Says goodbye to a client that is still there."""
        refused = next((one for one in ended if isinstance(one, OrchestratorError)), None)
        gone = any(isinstance(one, WebSocketDisconnect) for one in ended)
        for one in ended:
            if isinstance(one, Exception) and not isinstance(one, OrchestratorError | WebSocketDisconnect):
                raise one
        if not gone:
            code, reason = (POLICY, refused.message[:100]) if refused else (GOING_AWAY, "the service stops")
            await self._websocket.close(code, reason)

    def _reply(self, text: str | bytes) -> dict[str, Any]:
        try:
            asked = _decode(text)  # no unpaired surrogates, which no answer could repeat
            kind = asked.get("type", "")
        except (ValueError, AttributeError, RecursionError):
            return {"type": "error", "data": {"message": "A message is a JSON object with a type."}}
        if kind == "ping":
            return {"type": "pong", "data": {}}
        if kind == "subscribe_to_alerts":
            self._alerted = set()
            return {"type": "subscription_confirmed", "data": {"subscription": "alerts"}}
        if kind == "request_node_details":
            return self._node(str(asked.get("node_id", "")))
        return {"type": "error", "data": {"message": f"Nothing is known of the type '{str(kind)[:50]}'."}}

    def _node(self, node_id: str) -> dict[str, Any]:
        try:
            worker = self._service.workers.get(node_id)
        except NotFound as error:
            return {"type": "error", "data": {"message": error.message, "node_id": node_id}}
        return {
            "type": "node_details",
            "node_id": node_id,
            "data": worker_details(worker, self._service.clock.wall()),
        }

    async def _status(self, kind: str) -> None:
        try:
            await self._send({"type": kind, "data": await self._recent()})
        except StorageUnavailable as error:
            await self._send({"type": "error", "data": {"message": error.message}})

    async def _recent(self) -> dict[str, Any]:
        """The status, which all followers of one second share."""
        state, now = self._websocket.app.state, self._service.clock.tick()
        at, found = getattr(state, "recent_status", (-SHARED, {}))
        if now - at >= SHARED:
            found = await status(self._service)
            state.recent_status = (now, found)
        shared: dict[str, Any] = found
        return shared

    async def _alerts(self) -> None:
        """Each alert when it begins, for those who asked."""
        if self._alerted is None:
            return
        found = {one["id"]: one for one in alerts(self._service, self._service.figures)}
        for name in found.keys() - self._alerted:
            await self._send({"type": "alert", "data": found[name]})
        self._alerted = set(found)

    async def _send(self, message: dict[str, Any]) -> None:
        service = self._service
        whole = {"timestamp": iso(service.clock.wall()), "sequence": service.bulletin.last, **message}
        await self._websocket.send_text(_encode(whole).decode())


def _frame(number: int, kind: str, said: dict[str, Any]) -> bytes:
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, kind.encode(), _encode(said))


def _reason(missed: Missed) -> dict[str, Any]:
    return {"reason": missed.reason, "count": missed.count}


def _shown(event: Event) -> dict[str, Any]:
    return {"type": event.type, "data": event.data, "timestamp": iso(event.at), "sequence": event.number}


def _wanted(types: str, task: str, since: str) -> _Wanted:
    """Raises InvalidRequest for a type that there is not, and for a moment that is none."""
    names = {name.strip() for name in types.split(",") if name.strip()}
    unknown = sorted(names - EVENTS.keys())
    if unknown:
        raise InvalidRequest(f"type '{unknown[0][:50]}' is none of {', '.join(EVENTS)}", details={"field": "type"})
    return _Wanted(names or EVENTS.keys(), task, _moment(since))


def _moment(text: str) -> float | None:
    """Seconds since the epoch."""
    if not text:
        return None
    try:
        if text.replace(".", "", 1).isdecimal():
            return float(text)
        moment = datetime.fromisoformat(text)
        # The time of an event, as it was shown, was rounded: that event counts as one of this moment.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - ROUNDED
    except (ValueError, OverflowError):
        message = "since: a moment as in 2026-01-31T08:00:00Z, or seconds since the epoch"
        raise InvalidRequest(message, details={"field": "since"}) from None


def _check_room(service: HttpService, kind: str) -> None:
    most = service.settings.tasks.websocket_max
    if service.bulletin.followers[kind] >= most:
        raise RateLimited(f"{most} follow the events already (tasks.websocket_max).", retry_after=5.0)


@contextmanager
def _counted(service: HttpService, kind: str) -> Iterator[None]:
    service.bulletin.followers[kind] += 1
    try:
        yield
    finally:
        service.bulletin.followers[kind] -= 1


async def _after(service: HttpService, seen: str, since: float | None) -> int | None:
    """Where a follower goes on: behind an id, at a moment, or (None) now. Raises StorageUnavailable."""
    if not seen:
        return await service.bulletin.before(since) if since is not None else None
    return int(seen) if seen.isascii() and seen.isdecimal() and len(seen) <= 18 else UNKNOWN
