"""What the SDK raises, as errors of ours."""

from __future__ import annotations

from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, METHOD_NOT_FOUND, REQUEST_TIMEOUT
from pydantic import ValidationError

from orchestrator.domain.errors import OrchestratorError, ToolCrashed, ToolFailed, ToolTimeout

MOST_WORDS = 2_000  # characters of a server's message
ENDED = ("Session terminated", "Server returned an error response")  # how the SDK words HTTP statuses


def cause(error: BaseException) -> BaseException:
    """The first that went wrong in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def ends(error: BaseException) -> bool:
    """Whether the connection is of no more use."""
    found = cause(error)
    if isinstance(found, MCPError):
        return found.code == CONNECTION_CLOSED or found.message in ENDED
    return not isinstance(found, ValidationError | TimeoutError | OrchestratorError)


def unknown_method(error: MCPError) -> bool:
    return error.code == METHOD_NOT_FOUND


def told(error: BaseException) -> OrchestratorError:
    """The error in our words."""
    found = cause(error)
    if isinstance(found, OrchestratorError):
        return found
    if isinstance(found, MCPError):
        if found.code == REQUEST_TIMEOUT:
            return ToolTimeout("The MCP server did not answer in time.")
        words = found.message[:MOST_WORDS] or "no reason given"
        return ToolCrashed(f"MCP server: {words}") if ends(found) else ToolFailed(f"MCP server: {words}")
    if isinstance(found, ValidationError):
        return ToolFailed("The MCP server's answer is not one of the protocol.")
    if isinstance(found, TimeoutError):
        return ToolTimeout("The MCP server did not answer in time.")
    return ToolCrashed(f"MCP server: {type(found).__name__}: {str(found)[:MOST_WORDS]}".rstrip(": "))
