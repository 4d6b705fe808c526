"""Which tasks a command is about, and doing the same with each of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cyclopts import Group, Parameter
from rich.progress import track

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed, Refused, WrongUsage
from orchestrator.entrypoints.cli.options import Remote

TASKS = "/api/v1/tasks"
PAGE = 1_000


@Parameter(name="*", group=Group("Choice", sort_key=50))
@dataclass(frozen=True, slots=True)
class Choice:
    """Tasks by what they are."""

    status: str = ""
    """pending, active or failed, or a state such as queued or timeout; several by commas."""

    type: str = ""
    """Type of the tasks."""


def chosen(
    connection: Connection, ids: Sequence[str], choice: Choice | None, lists: Sequence[str], what: str, yes: bool
) -> list[str]:
    """The ids. For a choice the person is told how many and asked. Raises WrongUsage, CommandFailed."""
    status, kind = (choice.status, choice.type) if choice is not None else ("", "")
    if ids:
        if status or kind:
            raise WrongUsage("Either ids, or --status and --type.")
        return list(ids)
    if not (status or kind):
        raise WrongUsage("Which tasks? Give ids, or --status or --type.")
    found = [one for name in (status,) if name for one in listed(connection, name, kind)]
    if not status:
        found = [one for name in lists for one in listed(connection, name, kind)]
    if found:
        confirm(f"{what.capitalize()} {len(found):,} task{'s' if len(found) != 1 else ''}?", yes)
    return found


def listed(connection: Connection, status: str, kind: str) -> list[str]:
    """The ids of all tasks with the status, page by page."""
    found: list[str] = []
    before: int | None = None
    while True:
        page = connection.get(TASKS, status=status, task_type=kind or None, limit=PAGE, before=before)
        found += [task["task_id"] for group in page["tasks"].values() for task in group]
        before = page["next"]
        if before is None:
            return found


def each(
    connection: Connection, remote: Remote, ids: Sequence[str], action: str, body: dict[str, Any], did: str
) -> None:
    """Does it with each; one that is refused does not keep the others from it. Raises CommandFailed at the end, or for
    one task its own refusal."""
    results: list[dict[str, Any]] = []
    show = sys.stderr.isatty() and len(ids) > 1 and not remote.json
    for task_id in track(ids, action, console=output.err(), transient=True) if show else ids:
        try:
            connection.call("POST", f"{TASKS}/{segment(task_id)}/{action}", body)
        except Refused as error:
            if len(ids) == 1 or error.answered not in (404, 409):
                raise
            results.append({"task_id": task_id, "success": False, "error": error.message})
        else:
            results.append({"task_id": task_id, "success": True})
    failed = [one for one in results if not one["success"]]
    count = len(results) - len(failed)
    if remote.json:
        output.print_json({"count": count, "results": results})
    else:
        output.say(f"{count:,} task{'s' if count != 1 else ''} {did}.")
    if failed:
        raise CommandFailed(f"{len(failed):,} were not: {failed[0]['error']}")
