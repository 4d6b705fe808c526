"""The form of everything below /api/v1: bodies, answers and errors.

An answer has its named fields at the top and once more under `data`, as one half of the predecessor's clients reads the
one and the other half the other; `timestamp` is in RFC 3339, UTC. An error is `{success, error, details, timestamp}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.requests import HTTPConnection

from orchestrator.domain.errors import (
    InvalidRequest,
    OrchestratorError,
    RateLimited,
    Unauthenticated,
    UnsupportedMedia,
)
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.services.body_fault import UNREADABLE, unreadable
from orchestrator.services.clock import Clock

PREFIX = "/api/v1"
JSON = "application/json"
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class _Submitted(msgspec.Struct):
    success: bool
    task_id: str
    message: str
    data: dict[str, str]
    timestamp: str


def tasks_router(tag: str) -> APIRouter:
    return APIRouter(prefix=PREFIX, tags=[tag], route_class=LateRoute)


def service_of(request: HTTPConnection) -> HttpService:
    service: HttpService = request.app.state.service
    return service


def below_v1(path: str) -> bool:
    """Whether answers on this path have this form."""
    return path.startswith(f"{PREFIX}/")


def now_text(request: HTTPConnection) -> str:
    return moment(service_of(request).clock)


def moment(clock: Clock) -> str:
    """Now, as `timestamp` says it."""
    clock.tick()
    return clock.timestamp()


def answer(request: Request, named: Mapping[str, Any], *, message: str = "", status: int = 200) -> Response:
    """A success. `named` are the contract's fields; anything that msgspec can write."""
    return Response(written(service_of(request), named, message), status, media_type=JSON)


def written(service: HttpService, named: Mapping[str, Any], message: str = "") -> bytes:
    """The body of a success."""
    # A long list is said twice, and encoded once.
    once = {name: msgspec.Raw(_encode(value)) if isinstance(value, list) else value for name, value in named.items()}
    body = {"success": True, **once}
    if message:
        body["message"] = message
    body["data"] = once
    return _stamped(service, body)


def said_once(service: HttpService, named: Mapping[str, Any]) -> bytes:
    """The same without `data`, for what only nodes of ours read: what they are given may be large."""
    return _stamped(service, {"success": True, **named})


def _stamped(service: HttpService, body: dict[str, Any]) -> bytes:
    service.clock.tick()
    body["timestamp"] = service.clock.timestamp()
    return _encode(body)


def submitted(clock: Clock, task_id: str, new: bool) -> bytes:
    """The body of the answer to a task that was submitted, now or `new` False before."""
    clock.tick()
    message = "Task submitted successfully" if new else "Task was submitted before"
    return _encode(_Submitted(True, task_id, message, {"task_id": task_id}, clock.timestamp()))


def refusal(error: OrchestratorError, timestamp: str) -> dict[str, Any]:
    """The body of an error. `details.code` is one of the contract's codes, or our own in capitals."""
    details = dict(error.details)
    if isinstance(error, Unauthenticated):
        details["code"] = "AUTHENTICATION_FAILED"
    elif isinstance(error, RateLimited):
        details["code"] = "RATE_LIMITED"
    code = details.pop("code", error.code.upper())
    said = {"code": code, "retryable": error.retryable, **details}
    return {"success": False, "error": error.message, "details": said, "timestamp": timestamp}


async def read_body(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object. Raises InvalidRequest, UnsupportedMedia."""
    raw = await request.body()
    if not raw:
        return {}
    check_json(request)
    try:
        found = _decode(raw)
    except UNREADABLE as error:
        raise unreadable(error, raw) from None
    if not isinstance(found, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return found


def check_json(request: Request) -> None:
    """Raises UnsupportedMedia unless the body is said to be JSON."""
    check_kind(request.headers.get("content-type", ""))


def check_kind(content_type: str) -> None:
    """The same for a Content-Type."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMedia()


def described(properties: Mapping[str, str], *, required: bool = True) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body by `read_body`: names and what they mean."""
    schema = {
        "type": "object",
        "properties": {name: {"description": meaning} for name, meaning in properties.items()},
    }
    return {"requestBody": {"required": required, "content": {JSON: {"schema": schema}}}}
