"""`orchestrator tasks watch`: follows tasks to their end."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed
from orchestrator.entrypoints.cli.options import HERE, Remote
from orchestrator.entrypoints.cli.task_choice import TASKS

FINISHED = ("completed", "failed", "timeout", "cancelled")
SOONEST, LATEST = 0.05, 1.0  # seconds between looks


def watch(*ids: str, remote: Remote = HERE) -> None:
    """Follow tasks to their end, with a bar for each. Fails when one of them did not complete.

    For example:

    - `orchestrator tasks watch task_0123456789ab`
    - `orchestrator tasks watch $(orchestrator tasks submit resize --many inputs.jsonl)`

    Parameters
    ----------
    ids
        Ids of the tasks.
    """
    if not ids:
        raise CommandFailed("Which tasks? Give ids; `orchestrator tasks list` shows them.")
    with Connection(remote) as connection:
        follow(connection, ids, remote.json)


def follow(connection: Connection, ids: Sequence[str], as_json: bool) -> None:
    """Prints how the tasks ended, with `as_json` a line of JSON for each. Raises CommandFailed unless all completed."""
    bars = _Bars(ids) if sys.stderr.isatty() and not as_json else None
    ended: dict[str, dict[str, Any]] = {}
    said: dict[str, str] = {}
    wait = SOONEST
    try:
        while True:
            for task_id in ids:
                if task_id in ended:
                    continue
                task = connection.get(f"{TASKS}/{segment(task_id)}")["task"]
                if task["status"] in FINISHED:
                    ended[task_id] = task
                if bars is not None:
                    bars.show(task)
                elif not as_json and said.get(task_id) != (line := _line(task)):
                    said[task_id] = line
                    output.say(line)
                if as_json and task_id in ended:
                    output.print_json(task)
            if len(ended) == len(set(ids)):
                break
            time.sleep(wait)
            wait = min(LATEST, wait * 1.3)
    finally:
        if bars is not None:
            bars.close()
    _tell_end(ended, as_json)


def _tell_end(ended: dict[str, dict[str, Any]], as_json: bool) -> None:
    if not as_json:
        rows = [(one["task_id"], one["state"], one["node_id"], _took(one), _outcome(one)) for one in ended.values()]
        output.print_table(("id", "state", "node", "took", "result"), rows)
    lost = [one for one in ended.values() if one["status"] != "completed"]
    if lost:
        which = ", ".join(f"{one['task_id']} ({one['status']})" for one in lost[:5])
        raise CommandFailed(f"{len(lost)} of {len(ended)} did not complete: {which}")


class _Bars:
    """A bar for each task, on standard error."""

    def __init__(self, ids: Sequence[str]) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=output.err(), transient=True)
        self._bars: dict[str, TaskID] = {
            task_id: self._progress.add_task(output.printable(task_id), total=None, note="") for task_id in ids
        }
        self._progress.start()

    def show(self, task: dict[str, Any]) -> None:
        ended = task["status"] in FINISHED
        part = 1.0 if ended else task["progress"]
        note = task["state"] if ended else f"{task['state']} {output.printable(task['progress_message'] or '')}".strip()
        bar = self._bars[task["task_id"]]
        self._progress.update(bar, total=None if part is None else 1.0, completed=part or 0.0, note=note)

    def close(self) -> None:
        self._progress.stop()


def progress_text(task: dict[str, Any]) -> str:
    """`50 %, half of it`."""
    part = f"{task['progress']:.0%}".replace("%", " %") if task["progress"] is not None else ""
    return ", ".join(text for text in (part, task["progress_message"] or "") if text)


def age(task: dict[str, Any]) -> str:
    return output.span(max(0.0, time.time() - task["created_at"]))


def _line(task: dict[str, Any]) -> str:
    progress = progress_text(task)
    return output.printable(f"{task['task_id']} {task['state']}{': ' + progress if progress else ''}")


def _took(task: dict[str, Any]) -> str | None:
    return output.span(task["execution_time"]) if task["execution_time"] is not None else None


def _outcome(task: dict[str, Any]) -> str:
    text = str(task["error_message"] or "") if task["status"] != "completed" else output.shown(task["result_data"])
    return text if len(text) <= 200 else f"{text[:200]}..."
