"""Asking before something is lost."""

from __future__ import annotations

import sys

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.failure import CommandFailed, WrongUsage


def confirm(question: str, yes: bool) -> None:
    """Returns when the person agrees. Raises CommandFailed otherwise, WrongUsage where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUsage(f"{question} Nobody can be asked here: confirm with --yes.")
    output.err().print(f"{question} \\[y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandFailed("Nothing was changed.")
