"""What the analytics routes share: their window, their permission and the head of their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from fastapi import Query, Request, Response

from orchestrator.entrypoints.http.admin.route import milliseconds, service_of
from orchestrator.ports.history import HOUR, RequestFilter
from orchestrator.services.history.window import Window, moment

Hours = Annotated[float, Query(gt=0, le=24 * 400)]
Minutes = Annotated[int, Query(ge=1, le=7 * 24 * 60)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]
ServerId = Annotated[str | None, Query(alias="serverId")]


def window(default: str) -> Callable[..., Window]:
    """The dependency that reads `timeRange` (1h, 6h, 24h, 7d, 30d, custom), `startTime` and `endTime`."""

    def read(
        request: Request,
        time_range: Annotated[str, Query(alias="timeRange")] = default,
        start: Annotated[str | None, Query(alias="startTime")] = None,
        end: Annotated[str | None, Query(alias="endTime")] = None,
    ) -> Window:
        return Window.parse(time_range, start, end, service_of(request).analytics.now())

    return read


def wanted(
    request: Request,
    server_id: ServerId = None,
    model: str | None = None,
    endpoint: str | None = None,
    success: bool | None = None,
    outcome: str | None = None,
    error: Annotated[str | None, Query(alias="errorType")] = None,
    caller: Annotated[str | None, Query(alias="principal")] = None,
    retried: Annotated[bool | None, Query(alias="isRetry")] = None,
    request_id: Annotated[str | None, Query(alias="id")] = None,
    start: Annotated[str | None, Query(alias="startTime")] = None,
    end: Annotated[str | None, Query(alias="endTime")] = None,
) -> RequestFilter:
    """The dependency that reads which requests are meant. What is absent means any."""
    return RequestFilter(
        since=None if start is None else moment(start, "startTime"),
        until=None if end is None else moment(end, "endTime"),
        node=server_id,
        model=model,
        endpoint=endpoint,
        principal=caller,
        outcome=outcome,
        success=success,
        error=error,
        retried=retried,
        request_id=request_id,
    )


def last_hours(request: Request, hours: float) -> Window:
    return Window.last(hours * HOUR, service_of(request).analytics.now())


def encoded(answer: Mapping[str, Any]) -> Response:
    """What may be megabytes, several times faster than by its types."""
    return Response(msgspec.json.encode(answer), media_type="application/json")


def head(window: Window) -> dict[str, Any]:
    """`from` is where the sums begin: a whole minute, or a whole hour where older ones are not kept."""
    return {
        "success": True,
        "timeRange": window.name,
        "from": milliseconds(window.since),
        "to": milliseconds(window.until),
    }
