"""Which tasks a command is about, and doing the same with each of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cyclopts import Group, Parameter
from rich.progress import Progress, track

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed, Refused, WrongUsage
from orchestrator.entrypoints.cli.options import Flag, Remote, Seconds

TASKS = "/api/v1/tasks"
BULK = f"{TASKS}/bulk"
PAGE = 1_000
BIT = 0.5  # seconds between two looks at how far it is


@Parameter(name="*", group=Group("Choice", sort_key=50))
@dataclass(frozen=True, slots=True)
class Choice:
    """Tasks by what they are."""

    status: str = ""
    """pending, active or failed, or a state such as queued or timeout; several by commas."""

    type: str = ""
    """Type of the tasks."""

    node: str = ""
    """Node that has or had them."""

    submitted_by: str | None = None
    """Id of the principal that submitted them."""

    older_than: Seconds | None = None
    """Submitted longer ago than this, in seconds or as in 2h."""

    all: Flag = False
    """All that the command can be done to, when nothing else chooses."""

    def filter(self) -> dict[str, Any]:
        """As the API has it."""
        before = None if self.older_than is None else time.time() - self.older_than
        found = {"status": self.status, "type": self.type, "node": self.node}
        return {name: value for name, value in found.items() if value} | {
            name: value for name, value in (("principal", self.submitted_by), ("before", before)) if value is not None
        }


def only_ids(choice: Choice | None) -> None:
    """Raises WrongUsage for ids and a choice."""
    if choice is not None and (choice.filter() or choice.all):
        raise WrongUsage("Either ids, or a choice such as --status and --type.")


def together(
    connection: Connection, remote: Remote, choice: Choice | None, action: str, reason: str, yes: bool, did: str
) -> None:
    """Does it with all of a choice, when the person has agreed to their number. Raises WrongUsage, CommandFailed."""
    wanted = choice.filter() if choice is not None else {}
    if choice is None or not (wanted or choice.all):
        raise WrongUsage("Which tasks? Give ids, or --status, --type, --node, --submitted-by, --older-than or --all.")
    body = {"action": action, "filter": wanted, "all": not wanted}
    counted = connection.call("POST", BULK, {**body, "dry_run": True})
    count = counted["count"]
    if count:
        least = "" if counted["exact"] else "at least "
        confirm(f"{action.capitalize()} {least}{count:,} task{'s' if count != 1 else ''}?", yes)
        run = connection.call("POST", BULK, {**body, "wait": 0.0} | ({"reason": reason} if reason else {}))["bulk"]
        run = _followed(connection, remote, run)
    else:
        run = {"done": 0, "skipped": 0, "state": "done", "error": None}
    if remote.json:
        output.print_json({"count": run["done"], **run})
    else:
        more = f" {run['skipped']:,} had changed meanwhile." if run["skipped"] else ""
        output.say(f"{run['done']:,} task{'s' if run['done'] != 1 else ''} {did}.{more}")
    if run["state"] != "done":
        raise CommandFailed(f"It was {run['state']} before the end{': ' + run['error'] if run['error'] else ''}.")


def _followed(connection: Connection, remote: Remote, run: dict[str, Any]) -> dict[str, Any]:
    """The run at its end. Ctrl-C stops it."""
    path = f"{BULK}/{segment(run['bulk_id'])}"
    show = sys.stderr.isatty() and not remote.json
    with Progress(console=output.err(), transient=True, disable=not show) as progress:
        bar = progress.add_task(run["action"], total=run["total"])
        try:
            while run["state"] == "running":
                run = connection.get(path, wait=BIT)["bulk"]
                progress.update(bar, completed=run["done"] + run["skipped"])
        except KeyboardInterrupt:
            connection.call("POST", f"{path}/stop")
            raise
    return run


def each(
    connection: Connection, remote: Remote, ids: Sequence[str], action: str, body: dict[str, Any], did: str
) -> None:
    """Does it with each; one that is refused does not keep the others from it. Raises CommandFailed at the end, or for
    one task its own refusal."""
    results: list[dict[str, Any]] = []
    show = sys.stderr.isatty() and len(ids) > 1 and not remote.json
    paths = [f"{TASKS}/{segment(task_id)}/{action}" for task_id in ids]  # before the first: a wrong one stops all
    pairs = list(zip(ids, paths, strict=True))
    for task_id, path in track(pairs, action, console=output.err(), transient=True) if show else pairs:
        try:
            connection.call("POST", path, body)
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
