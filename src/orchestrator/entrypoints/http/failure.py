"""The one place where errors become bodies on the control plane; the data plane has `domain.dialects.error_body`."""

from __future__ import annotations

import json
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError, ValidationException, WebSocketRequestValidationError
from fastapi.requests import HTTPConnection
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from orchestrator.domain.dialects import error_body
from orchestrator.domain.errors import InvalidRequest, NotFound, OrchestratorError
from orchestrator.domain.node import Dialect
from orchestrator.entrypoints.http.tasks.envelope import below_v1, moment, now_text, refusal, service_of
from orchestrator.services.clock import Clock

REGISTRY_AREAS = frozenset({"nodes", "tools", "artifacts", "queries", "maintenance", "monitoring", "stats"})
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def answer(request: HTTPConnection, error: OrchestratorError) -> JSONResponse:
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body_of(request, error, service_of(request).clock), error.status, headers)


def body_of(request: HTTPConnection, error: OrchestratorError, clock: Clock) -> dict[str, Any]:
    """`{error, code, ...details}`; under /v1 the form that OpenAI's clients read, or Anthropic's."""
    path = request.scope["path"]
    if path.startswith("/v1/"):
        dialect = Dialect.ANTHROPIC if "anthropic-version" in request.headers else Dialect.OPENAI
        return error_body(dialect, error, request_id="")
    if below_v1(path):
        return refusal(error, moment(clock))
    body = {"error": error.message, "code": error.code, "retryable": error.retryable, **error.details}
    if at_the_root(path):
        body["detail"] = error.message
    return body


def at_the_root(path: str) -> bool:
    """Whether errors on this path have the registry's form: FastAPI's own, with ours beside."""
    return path[1:].partition("/")[0] in REGISTRY_AREAS


def _told(error: ValidationException) -> list[Any]:
    """FastAPI's list of problems; without what was sent where JSON cannot hold it."""
    try:
        found: list[Any] = jsonable_encoder(error.errors())
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        found = [{name: one[name] for name in ("type", "loc", "msg")} for one in error.errors()]
    return found


def bug(request: Request, error: Exception) -> JSONResponse:
    """Logs an exception that is no error of ours; the caller learns nothing about it."""
    log = logging.getLogger("orchestrator.http")
    log.error("bug", exc_info=error, extra={"method": request.method, "path": request.scope["path"][:200]})
    if below_v1(request.scope["path"]):
        return JSONResponse(refusal(OrchestratorError("Internal server error"), now_text(request)), 500)
    return JSONResponse({"error": "Internal server error", "code": "internal_error", "retryable": False}, 500)


def install(app: FastAPI) -> None:
    """Registers the handlers."""

    @app.exception_handler(OrchestratorError)
    async def ours(request: HTTPConnection, error: OrchestratorError) -> JSONResponse:
        return answer(request, error)  # of a WebSocket, too: it is not accepted before everything is checked

    @app.exception_handler(WebSocketRequestValidationError)
    @app.exception_handler(RequestValidationError)
    async def invalid(request: HTTPConnection, error: ValidationException) -> JSONResponse:
        if at_the_root(request.scope["path"]):
            return JSONResponse({"detail": _told(error)}, 422)
        problems = [f"{'.'.join(map(str, one['loc'][1:])) or one['loc'][0]}: {one['msg']}" for one in error.errors()]
        named = error.errors()[0]["loc"][1:]
        is_field = bool(named) and isinstance(named[0], str)  # of a body that is no JSON it is a place in the text
        details = {"field": ".".join(map(str, named))} if is_field else {}
        return answer(request, InvalidRequest("; ".join(problems), details=details))

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return answer(request, NotFound("Not found"))
        if isinstance(error.__cause__, OrchestratorError):  # raised while the framework read the body
            return answer(request, error.__cause__)
        if below_v1(request.scope["path"]):
            code = _CODES.get(error.status_code, "http_error").upper()
            told = refusal(OrchestratorError(str(error.detail), details={"code": code}), now_text(request))
            return JSONResponse(told, error.status_code, error.headers)
        body = {"error": error.detail, "code": _CODES.get(error.status_code, "http_error"), "retryable": False}
        if at_the_root(request.scope["path"]):
            body["detail"] = error.detail
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def ours_to_mend(request: Request, error: Exception) -> JSONResponse:
        return bug(request, error)
