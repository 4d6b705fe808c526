"""`orchestrator webhooks`."""

from __future__ import annotations

import time
from typing import Any, Literal

from cyclopts import App

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed, Refused, WrongUsage
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Remote

webhooks = App(name="webhooks", help="The POSTs that tell clients of their tasks' ends.")

WEBHOOKS = "/api/v1/webhooks"
PAGE = 1_000
COLUMNS = ("id", "task", "state", "attempts", "status", "age", "url", "error")


@webhooks.command(name="list")
def list_webhooks(
    *,
    state: Literal["pending", "delivered", "failed"] | None = None,
    task: str = "",
    limit: int = 50,
    offset: int = 0,
    remote: Remote = HERE,
) -> None:
    """List the deliveries, newest first. They are kept for a week after their end.

    For example:

    - `orchestrator webhooks list`
    - `orchestrator webhooks list --state failed --json`

    Parameters
    ----------
    state
        Only those that are pending, delivered or failed.
    task
        Only those of this task.
    limit
        How many.
    offset
        How many to leave out first.
    """
    with Connection(remote) as connection:
        found = connection.get(WEBHOOKS, state=state, task_id=task or None, limit=limit, offset=offset)["webhooks"]
    if remote.json:
        output.print_json(found)
    else:
        output.print_table(COLUMNS, [row(one) for one in found], "There are no such deliveries.")


@webhooks.command
def replay(*ids: str, task: str = "", remote: Remote = HERE) -> None:
    """Deliver once more what was delivered or given up.

    For example:

    - `orchestrator webhooks replay wh_0123456789ab`
    - `orchestrator webhooks replay --task task_0123456789ab`

    Parameters
    ----------
    ids
        Ids of the deliveries.
    task
        Those of this task.
    """
    if bool(ids) == bool(task):
        raise WrongUsage("Which deliveries? Give ids, or --task.")
    with Connection(remote) as connection:
        if task:
            found = connection.get(WEBHOOKS, task_id=task, limit=PAGE)["webhooks"]
            ids = tuple(one["webhook_id"] for one in found)
        paths = [f"{WEBHOOKS}/{segment(one)}/replay" for one in ids]  # before the first: a wrong one stops all
        results = [_replayed(connection, one, path, len(ids) == 1) for one, path in zip(ids, paths, strict=True)]
    failed = [one for one in results if not one["success"]]
    count = len(results) - len(failed)
    answer = {"count": count, "results": results}
    done(remote, answer, f"{count:,} deliver{'ies' if count != 1 else 'y'} begun anew.")
    if failed:
        raise CommandFailed(f"{len(failed):,} were not: {failed[0]['error']}")


def row(webhook: dict[str, Any]) -> tuple[Any, ...]:
    return (
        webhook["webhook_id"],
        webhook["task_id"],
        webhook["state"],
        webhook["attempts"],
        webhook["last_status"],
        output.span(max(0.0, time.time() - webhook["created_at"])),
        webhook["url"],
        webhook["last_error"],
    )


def _replayed(connection: Connection, webhook_id: str, path: str, alone: bool) -> dict[str, Any]:
    try:
        connection.call("POST", path)
    except Refused as error:
        if alone or error.answered != 404:
            raise
        return {"webhook_id": webhook_id, "success": False, "error": error.message}
    return {"webhook_id": webhook_id, "success": True}
