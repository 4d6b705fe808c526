"""Every error the product raises on purpose. The type says whose fault it is and whether a retry can help.

    OrchestratorError
    ├── RequestError            the caller's fault; the same request will fail again
    │   ├── InvalidRequest      malformed, missing or out-of-range input          400
    │   │   ├── BodyIncomplete  the body broke off                                 400
    │   │   └── InvalidArguments a call's arguments do not fit the tool's schema    422
    │   ├── Unsupported         understood, but no node kind can carry it          400
    │   ├── Unauthenticated     no usable credential                               401
    │   ├── Forbidden           a known principal without the permission           403
    │   ├── NotFound            no such thing                                      404
    │   │   └── ModelNotFound   no node of the fleet has the model                 404
    │   ├── Conflict            it exists already, or is in the wrong state        409
    │   │   ├── NotExecutable   a tool that is only described                      409
    │   │   └── ToolDisabled    a tool that is not enabled                         409
    │   ├── NotAvailable        a reserved name, for what does not exist yet       501
    │   ├── TooLarge            body or header over the limit                      413
    │   ├── RangeNotSatisfiable bytes behind the end were asked for                416
    │   ├── QuotaExceeded       no room is left for the caller's bytes             507
    │   ├── UnsupportedMedia    a body that is not JSON                            415
    │   └── UnknownHost         a Host header that is not on the allow-list        421
    ├── Overload                the service's state; retry after `retry_after`
    │   ├── RateLimited         the principal's own limit                          429
    │   ├── QueueFull           the admission queue is full                        503
    │   ├── QueuePaused         an operator paused admission                       503
    │   ├── DeadlineExceeded    the request's own deadline passed while waiting    504
    │   ├── NoNode              nodes have the model, none may take it now         503
    │   ├── ToolsBusy           as many calls of tools run as may                  503
    │   └── ShuttingDown        the process is leaving                             503
    ├── UpstreamError           a node's fault; another node may succeed
    │   ├── ConnectFailed       refused, unreachable, TLS failure                  502
    │   ├── UpstreamStatus      the node answered with an error status             502
    │   │   └── UpstreamRateLimited the node answered 429, and so did the others       429
    │   ├── UpstreamTimeout     no headers or no first token in time               504
    │   ├── Stalled             tokens stopped coming                              504
    │   ├── Truncated           the stream broke before its end                    502
    │   └── MalformedAnswer     bytes that are not the dialect's                   502
    ├── ToolError               a tool's fault
    │   ├── ToolFailed          it was called and says no                          502
    │   ├── ToolCrashed         it ended or could not be reached                   502
    │   └── ToolTimeout         no result in time                                  504
    ├── StorageUnavailable      the database cannot be reached, read or written    503
    └── ConfigurationError      the operator's file, variable or flag              exit 2

`status` is the HTTP status, `code` a stable machine word, `retryable` what a client may assume. One module per entry
point maps an error to its body (`domain/dialects/errors.py` for the inference dialects) and to an exit code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class OrchestratorError(Exception):
    """Something went wrong inside the orchestrator."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        """`retry_after` is in seconds; `details` are extra public fields for the error's body."""
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.retry_after = retry_after
        self.details = dict(details or {})
        super().__init__(self.message)


class RequestError(OrchestratorError):
    """The request cannot succeed as it is."""

    status = 400
    code = "invalid_request"


class InvalidRequest(RequestError):
    """The request is malformed."""


class BodyIncomplete(InvalidRequest):
    """The body ended too soon."""

    code = "body_incomplete"


class InvalidArguments(InvalidRequest):
    """The arguments do not fit the tool's input schema."""

    status = 422
    code = "invalid_arguments"


class Unsupported(RequestError):
    """The request uses a feature that the target cannot carry."""

    code = "unsupported"


class Unauthenticated(RequestError):
    """Authentication required."""

    status = 401
    code = "unauthenticated"


class Forbidden(RequestError):
    """This principal may not do that."""

    status = 403
    code = "forbidden"


class NotFound(RequestError):
    """Not found."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """No node of the fleet has the model."""

    code = "model_not_found"


class Conflict(RequestError):
    """It exists already, or its state does not allow this."""

    status = 409
    code = "conflict"


class NotExecutable(Conflict):
    """This tool is only described: nothing can be called."""

    code = "not_executable"


class ToolDisabled(Conflict):
    """This tool is not enabled."""

    code = "tool_disabled"


class NotAvailable(RequestError):
    """This does not exist yet."""

    status = 501
    code = "not_available"


class TooLarge(RequestError):
    """The body is over the limit."""

    status = 413
    code = "too_large"


class RangeNotSatisfiable(RequestError):
    """The range lies behind the end."""

    status = 416
    code = "range_not_satisfiable"


class QuotaExceeded(RequestError):
    """The quota for artifacts is used up."""

    status = 507
    code = "quota_exceeded"


class UnsupportedMedia(RequestError):
    """The body must be JSON with Content-Type: application/json."""

    status = 415
    code = "unsupported_media_type"


class UnknownHost(RequestError):
    """This service does not answer to that host name."""

    status = 421
    code = "unknown_host"


class Overload(OrchestratorError):
    """The service cannot take the request now."""

    status = 503
    code = "overloaded"
    retryable = True


class RateLimited(Overload):
    """Too many requests."""

    status = 429
    code = "rate_limited"


class QueueFull(Overload):
    """All servers at max concurrency"""

    code = "queue_full"


class QueuePaused(Overload):
    """The queue is paused."""

    code = "queue_paused"


class DeadlineExceeded(Overload):
    """The request's deadline passed before it could be served."""

    status = 504
    code = "deadline_exceeded"


class NoNode(Overload):
    """No available servers for model"""

    code = "no_node"


class ToolsBusy(Overload):
    """As many calls of tools run as may."""

    code = "tools_busy"


class ShuttingDown(Overload):
    """The service is shutting down."""

    code = "shutting_down"


class UpstreamError(OrchestratorError):
    """A node failed."""

    status = 502
    code = "upstream_error"
    retryable = True


class ConnectFailed(UpstreamError):
    """The node could not be reached."""

    code = "upstream_unreachable"


class UpstreamStatus(UpstreamError):
    """The node answered with an error status."""

    code = "upstream_status"


class UpstreamRateLimited(UpstreamStatus):
    """The node is over its rate limit."""

    status = 429
    code = "upstream_rate_limited"


class UpstreamTimeout(UpstreamError):
    """The node did not answer in time."""

    status = 504
    code = "upstream_timeout"


class Stalled(UpstreamError):
    """The node stopped sending tokens."""

    status = 504
    code = "upstream_stalled"


class Truncated(UpstreamError):
    """The node's stream broke before its end."""

    code = "upstream_truncated"


class MalformedAnswer(UpstreamError):
    """The node's answer is not in its dialect."""

    code = "upstream_malformed"


class ToolError(OrchestratorError):
    """A tool failed."""

    status = 502
    code = "tool_error"


class ToolFailed(ToolError):
    """The tool reported an error."""

    code = "tool_failed"


class ToolCrashed(ToolError):
    """The tool ended unexpectedly or could not be reached."""

    code = "tool_crashed"
    retryable = True


class ToolTimeout(ToolError):
    """The tool did not answer in time."""

    status = 504
    code = "tool_timeout"
    retryable = True


class StorageUnavailable(OrchestratorError):
    """The database is unavailable."""

    status = 503
    code = "storage_unavailable"
    retryable = True


class ConfigurationError(OrchestratorError):
    """The configuration is wrong."""

    code = "configuration"
