"""The one place where errors become exit codes and messages of the command line.

0   done
1   failed: the service refused, something is broken, a check failed
2   the command line or the configuration is wrong
3   nothing answers at the service's URL
130 interrupted
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from cyclopts import CycloptsError

from orchestrator.domain.errors import ConfigurationError, OrchestratorError

DONE, FAILED, MISUSED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130


class CommandFailed(OrchestratorError):
    """The command did not succeed."""

    code = "failed"
    exit_code: ClassVar[int] = FAILED

    def __init__(self, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None) -> None:
        """`hint` says what to do about it; `details` are more fields for `--json`."""
        super().__init__(message, details=details)
        self.hint = hint


class WrongUsage(CommandFailed):
    """The arguments do not fit together."""

    code = "usage"
    exit_code = MISUSED


class ServiceUnreachable(CommandFailed):
    """Nothing answers at the service's URL."""

    code = "service_unreachable"
    exit_code = UNREACHABLE


class Refused(CommandFailed):
    """The service answered with an error. `status` is its HTTP status, `code` the service's own word."""

    code = "refused"

    def __init__(
        self, message: str, answered: int, *, hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, hint=hint, details={"status": answered, **(details or {})})
        self.answered = answered


def exit_code(error: OrchestratorError | CycloptsError) -> int:
    if isinstance(error, CycloptsError | ConfigurationError):
        return MISUSED
    return error.exit_code if isinstance(error, CommandFailed) else FAILED


def described(error: OrchestratorError | CycloptsError) -> dict[str, Any]:
    """The error as `--json` prints it: `{error, code, ...details, hint}`."""
    if isinstance(error, CycloptsError):
        return {"error": str(error).strip(), "code": WrongUsage.code}
    hint = {"hint": error.hint} if isinstance(error, CommandFailed) and error.hint else {}
    return {"error": error.message, "code": error.code, **error.details, **hint}


def told(error: OrchestratorError | CycloptsError) -> str:
    """The error as a person reads it."""
    if isinstance(error, CycloptsError):
        return f"{str(error).strip()}\nSee `orchestrator {' '.join((*(error.command_chain or ()), '--help'))}`."
    hint = f"\n{error.hint}" if isinstance(error, CommandFailed) and error.hint else ""
    return error.message + hint
