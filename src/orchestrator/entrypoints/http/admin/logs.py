"""The latest log entries, and those to come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import StreamingResponse

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import InvalidRequest, RateLimited
from orchestrator.entrypoints.http.admin.route import admin_router, audit, service_of
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.ports.logs import LogEntry
from orchestrator.services.log_tail import LEVELS, LogFilter, Lost, follow

router = admin_router("logs")
READ, WRITE = requires(Permission.LOGS_READ), requires(Permission.LOGS_WRITE)
MOST_STREAMS = 32  # of one process
SSE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_KNOWN = frozenset({"timestamp", "level", "event", "logger"})
_SPELLINGS = {"warn": "warning", "fatal": "critical"}
_SHOWN_LEVELS = {"warning": "warn", "critical": "error"}  # the contract knows debug, info, warn and error


def wanted(level: str = "debug", since: str = "", search: Annotated[str, Query(max_length=500)] = "") -> LogFilter:
    """`level` (debug, info, warn or error) and above; `since` as ISO 8601 or in ms; `search` in any field."""
    name = level.strip().lower()
    name = _SPELLINGS.get(name, name)
    if name not in LEVELS:
        raise InvalidRequest(f"level '{level}' is not one of debug, info, warn, error")
    return LogFilter(name, _moment(since), search)


Wanted = Annotated[LogFilter, Depends(wanted)]


@router.get("/logs")
async def get_logs(
    request: Request,
    which: Wanted,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    principal: Principal = READ,
) -> dict[str, Any]:
    """The entries in memory (`logging.keep`), newest first. `total` counts all that match, `timestamp` is ISO 8601."""
    service = service_of(request)
    entries = service.log_entries.latest()
    found = await asyncio.to_thread(lambda: [entry for entry in entries if which.takes(entry)])
    page = [_shown(service, entry) for entry in islice(found, offset, offset + limit)]
    return {"success": True, "logs": page, "count": len(page), "total": len(found), "offset": offset, "limit": limit}


@router.post("/logs/clear")
async def clear_logs(request: Request, principal: Principal = WRITE) -> dict[str, Any]:
    """Forgets the entries in memory. Files and what was printed stay."""
    removed = service_of(request).log_entries.clear()
    audit(principal, "logs.clear", removed=removed)
    return {"success": True, "message": "Logs cleared", "removed": removed}


@router.get("/logs/stream")
async def stream_logs(request: Request, which: Wanted, principal: Principal = READ) -> StreamingResponse:
    """Server-sent events: `log` for each entry to come; `lost` (`count`) where entries came faster than they were read;
    `end` when the service stops.

    With `Last-Event-ID`, or with `since`, the entries in memory come first. 429 when 32 streams are open.
    """
    service = service_of(request)
    book = service.log_entries
    if book.listeners >= MOST_STREAMS:
        raise RateLimited(f"{MOST_STREAMS} log streams are open already.", retry_after=5.0)
    seen = request.headers.get("last-event-id", "")
    after = _number(service, seen) if seen else 0 if which.since is not None else book.last
    return StreamingResponse(_events(service, which, after), media_type="text/event-stream", headers=SSE)


async def _events(service: HttpService, which: LogFilter, after: int) -> AsyncIterator[bytes]:
    yield b": open\n\n"
    async with aclosing(follow(service.log_entries, which, after, service.stopping)) as found:
        async for one in found:
            if isinstance(one, LogEntry):
                yield _event("log", _shown(service, one), _id(service, one.number))
            elif isinstance(one, Lost):
                yield _event("lost", {"count": one.count})
            else:
                yield b": quiet\n\n"
    yield _event("end", {"reason": "shutdown"})


def _event(name: str, data: dict[str, Any], number: str = "") -> bytes:
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "backslashreplace")


def _shown(service: HttpService, entry: LogEntry) -> dict[str, Any]:
    fields = entry.fields
    return {
        "id": _id(service, entry.number),
        "timestamp": fields.get("timestamp"),
        "level": _SHOWN_LEVELS.get(entry.level, entry.level),
        "message": fields.get("event", ""),
        "logger": fields.get("logger", ""),
        "meta": {name: value for name, value in fields.items() if name not in _KNOWN},
    }


def _id(service: HttpService, number: int) -> str:
    """Numbers begin anew with each start; the moment of the start tells them apart."""
    return f"{round(service.started_at * 1000):x}-{number}"


def _number(service: HttpService, seen: str) -> int:
    """Where a stream goes on. An id of an earlier start, or none of ours, leads to all that is kept."""
    start, _, number = seen.partition("-")
    known = start == _id(service, 0).partition("-")[0] and number.isascii() and number.isdigit() and len(number) < 16
    return min(int(number), service.log_entries.last) if known else 0


def _moment(text: str) -> float | None:
    text = text.strip()
    if not text:
        return None
    try:
        if text.isascii() and text.isdigit() and len(text) < 16:
            return int(text) / 1000
        # A `+` of a query that nobody escaped is a blank.
        found = datetime.fromisoformat(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidRequest(f"since '{text[:60]}' is neither ISO 8601 nor milliseconds since the epoch") from None
