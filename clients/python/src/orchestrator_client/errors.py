"""What can go wrong, as types. `OrchestratorError` is the root of all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


class OrchestratorError(Exception):
    """`status` is the HTTP status (0 where none came), `code` the service's word, `details` what it said besides, and
    `retry_after` the seconds that it asks to wait."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.details = dict(details or {})
        self.retry_after = retry_after


class BadRequest(OrchestratorError):
    """400, 405, 413, 415: what was sent cannot be taken. `details["field"]` names the field, where there is one."""


class InvalidArguments(BadRequest):
    """422: the arguments do not fit the tool's schema. `problems` has `path` (JSON Pointer), `message` and
    `schema_path` of each violation."""

    @property
    def problems(self) -> list[dict[str, Any]]:
        return list(self.details.get("problems", ()))


class Unauthenticated(OrchestratorError):
    """401: no API key, or a wrong one. Status 0: one that cannot be sent."""


class Forbidden(OrchestratorError):
    """403: the key does not allow it."""


class NotFound(OrchestratorError):
    """404: there is no such task, node, tool or call."""


class Conflict(OrchestratorError):
    """409: it does not fit what is there, such as the result of an attempt that is no longer the current one."""


class RateLimited(OrchestratorError):
    """429: too many requests; `retry_after` says when to come again."""


class ServiceError(OrchestratorError):
    """5xx: the service failed."""


class Unavailable(ServiceError):
    """502, 503, 504: the service is stopped, stopping, or without its database. Try again later."""


class NotAvailable(ServiceError):
    """501: tools of this kind cannot be called yet."""


class Unreachable(OrchestratorError):
    """Nothing answered: no connection, a broken one, or no answer in time."""


class WaitTimeout(OrchestratorError, TimeoutError):
    """The task had not finished in the time that the caller wanted to wait. It goes on."""


class PartlyRefused(OrchestratorError):
    """Some tasks of a batch were refused: `refused` has the error of each by its position; `task_ids` has the ids of
    all by position, None for those."""

    def __init__(self, task_ids: list[str | None], refused: Mapping[int, str]) -> None:
        first = next(iter(refused.items()))
        super().__init__(f"{len(refused)} of {len(task_ids)} tasks were refused; task {first[0]}: {first[1]}")
        self.task_ids = task_ids
        self.refused = dict(refused)


class ToolCallFailed(OrchestratorError):
    """A call of a tool did not succeed: `code` says why, such as tool_failed, tool_timeout, tool_crashed,
    invalid_result, rejected, cancelled; `problems` are those of a result that does not fit the tool's schema."""

    def __init__(self, message: str, code: str, problems: Sequence[Mapping[str, Any]], call_id: str) -> None:
        super().__init__(message, code=code)
        self.problems = [dict(one) for one in problems]
        self.call_id = call_id


_TYPES: Mapping[int, type[OrchestratorError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: InvalidArguments,
    429: RateLimited,
    501: NotAvailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


@contextmanager
def understood(status: int = 200) -> Iterator[None]:
    """For the reading of an answer: one that does not look like the service's is one error, whatever it looks like."""
    try:
        yield
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # Not its cause, which is about our code.
        raise OrchestratorError(
            "What answers at this URL is no orchestrator, or one of another version.", status=status
        ) from None


def error_of(status: int, body: bytes, retry_after: str | None = None) -> OrchestratorError:
    """The error that an answer tells."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    message, code, details = f"The service answered with status {status}.", "", {}
    if isinstance(told, dict):
        found = told.get("error")
        if isinstance(found, dict):
            message, code = str(found.get("message", message)), str(found.get("code", ""))
        elif found:
            message = str(found)
        if isinstance(told.get("details"), dict):
            details = told["details"]
            code = str(details.get("code", code))
    kind = _TYPES.get(status, ServiceError if status >= 500 else BadRequest)
    return kind(message, status=status, code=code, details=details, retry_after=_seconds(retry_after))


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None
