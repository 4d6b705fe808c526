"""`orchestrator tasks dead-letter`: tasks that failed for good."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from orchestrator.entrypoints.cli import output, task_watch
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection
from orchestrator.entrypoints.cli.failure import CommandFailed, WrongUsage
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Yes
from orchestrator.entrypoints.cli.task_choice import PAGE, TASKS

dead_letter = App(name="dead-letter", help="Tasks that failed for good: list them, and begin them anew.")


@dead_letter.command(name="list")
def list_dead(*, type: str = "", limit: int = 50, offset: int = 0, remote: Remote = HERE) -> None:
    """List tasks that failed for good, newest first.

    Examples: `orchestrator tasks dead-letter list --type resize`

    Parameters
    ----------
    type
        Type of the tasks.
    limit
        How many.
    offset
        How many to leave out first.
    """
    with Connection(remote) as connection:
        answer = connection.get(f"{TASKS}/failed", task_type=type or None, limit=limit, offset=offset)
    if remote.json:
        output.print_json(answer["tasks"])
        return
    rows = [
        (
            task["task_id"],
            task["task_type"],
            task["state"],
            task["attempt"],
            task_watch.age(task),
            task["error_message"],
        )
        for task in answer["tasks"]
    ]
    output.print_table(("id", "type", "state", "attempts", "age", "error"), rows, "No task has failed for good.")


@dead_letter.command
def replay(*ids: str, type: str = "", all: Flag = False, yes: Yes = False, remote: Remote = HERE) -> None:
    """Begin dead letters anew: these, those of a type, or all. Exit status 1 when one of these does not begin.

    For example:

    - `orchestrator tasks dead-letter replay task_0123456789ab`
    - `orchestrator tasks dead-letter replay --type resize`

    Parameters
    ----------
    ids
        Ids of the tasks.
    type
        All of this type.
    all
        All.
    yes
        Do not ask.
    """
    if bool(ids) + bool(type) + all != 1:
        raise WrongUsage("Which dead letters? Give ids, --type or --all.")
    path = f"{TASKS}/failed/replay"
    replayed: list[str] = []
    with Connection(remote) as connection:
        if ids:
            replayed = connection.call("POST", path, {"task_ids": list(ids)})["task_ids"]
        else:
            found = _all(connection, type)
            if found:
                confirm(f"Replay {len(found):,} task{'s' if len(found) != 1 else ''}?", yes)
            found.reverse()  # what others depend on is older
            for at in range(0, len(found), PAGE):
                part = {"task_ids": found[at : at + PAGE]}
                replayed += connection.call("POST", path, part)["task_ids"]
    answer: dict[str, Any] = {"task_ids": replayed, "count": len(replayed)}
    missing = [task_id for task_id in ids if task_id not in replayed]
    if missing:
        more = f" {len(replayed):,} queued again." if replayed else ""
        why = "no dead letters, or they depend on one"
        raise CommandFailed(
            f"Not queued again: {', '.join(missing)} ({why}).{more}", details={**answer, "missing": missing}
        )
    done(remote, answer, f"{len(replayed):,} task{'s' if len(replayed) != 1 else ''} queued again.")


def _all(connection: Connection, kind: str) -> list[str]:
    found: list[str] = []
    while True:
        page = connection.get(f"{TASKS}/failed", task_type=kind or None, limit=PAGE, offset=len(found) or None)
        found += [task["task_id"] for task in page["tasks"]]
        if len(page["tasks"]) < PAGE:
            return found
