"""`orchestrator tasks logs`."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.options import HERE, Remote
from orchestrator.entrypoints.cli.task_choice import TASKS

PAGE = 1_000
LOOK = 0.5  # seconds between looks for more
STYLES = {"debug": "dim", "warn": "yellow", "warning": "yellow", "error": "red"}


def logs(
    id: str,
    /,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative=(), show_default=False)] = False,
    remote: Remote = HERE,
) -> None:
    """Show the log lines that a task's node sent.

    For example:

    - `orchestrator tasks logs task_0123456789ab`
    - `orchestrator tasks logs task_0123456789ab --follow`

    Parameters
    ----------
    id
        Id of the task.
    follow
        Keep showing new lines until the task has finished.
    """
    after = 0
    with Connection(remote) as connection:
        while True:
            page = connection.get(f"{TASKS}/{segment(id)}/logs", after=after, limit=PAGE)
            if page["dropped"] > after:
                output.warn(f"{page['dropped'] - after:,} lines are no longer kept")
            for line in page["logs"]:
                show(line, remote.json)
            after = page["next"]
            if after < page["last"]:
                continue
            if not follow or page["finished"]:
                return
            time.sleep(LOOK)


def show(line: dict[str, Any], as_json: bool) -> None:
    """One line, with `as_json` as an object."""
    if as_json:
        output.print_text(json.dumps(line, ensure_ascii=False))
        return
    at = output.moment(round(line["at"] * 1000)) or ""
    if not sys.stdout.isatty():
        output.print_text(f"{at}\t{line['level']}\t{output.printable(line['message'])}")
        return
    text = Text(f"{at} ", style="dim")
    text.append(f"{line['level']:5} ", style=STYLES.get(line["level"], ""))
    text.append(output.printable(line["message"]), style="default")
    output.out().print(text)
