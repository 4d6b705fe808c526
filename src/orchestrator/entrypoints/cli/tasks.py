"""`orchestrator tasks`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from orchestrator.entrypoints.cli import dead_letters, json_text, output, task_logs, task_watch
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import WrongUsage
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Seconds, Yes
from orchestrator.entrypoints.cli.task_choice import TASKS, Choice, each, only_ids, together

tasks = App(name="tasks", help="Tasks: submit, list, watch, cancel, retry and explain them.")
tasks.command(task_watch.watch)
tasks.command(task_logs.logs)
tasks.command(dead_letters.dead_letter)
Names = Annotated[tuple[str, ...], Parameter(negative=())]
COLUMNS = ("id", "type", "state", "priority", "node", "attempt", "age", "note")


@tasks.command
def submit(
    task_type: str,
    input: str = "null",
    /,
    *,
    priority: str = "normal",
    capability: Names = (),
    label: Names = (),
    after: Names = (),
    attempt_timeout: Seconds | None = None,
    max_retries: int | None = None,
    id: str | None = None,
    many: Path | None = None,
    watch: Flag = False,
    remote: Remote = HERE,
) -> None:
    """Submit a task; its id is printed.

    For example:

    - `orchestrator tasks submit resize '{"width": 200}'`
    - `orchestrator tasks submit train @job.json --capability gpu --priority high --watch`
    - `orchestrator tasks submit resize --many inputs.jsonl`

    Parameters
    ----------
    task_type
        Type of the task: which handler runs it.
    input
        What the handler is given: JSON, @FILE with JSON, or - for standard input.
    priority
        1 to 5, or critical, high, normal, low, background.
    capability
        What the node must be able to do; may be given several times.
    label
        NAME=VALUE that the node must have; may be given several times.
    after
        Id of a task that must complete first; may be given several times.
    attempt_timeout
        How long one attempt may take, in seconds or as in 10m.
    max_retries
        Attempts that may follow the first one.
    id
        Id of the task: submitting the same again is the same task.
    many
        File with one input (JSON) a line, - for standard input: as many tasks.
    watch
        Follow the task to its end.
    """
    if many is not None and (id or input != "null"):
        raise WrongUsage("--many: the inputs come from the file, and the ids are made.")
    body = {
        "task_type": task_type,
        "task_id": id,
        "priority": int(priority) if priority.isdecimal() else priority,
        "requirements": {"capabilities": list(capability), "labels": _labels(label)},
        "dependencies": list(after),
        "timeout": attempt_timeout,
        "max_retries": max_retries,
    }
    body = {name: value for name, value in body.items() if value is not None}
    with Connection(remote) as connection:
        if many is not None:
            ids = _submit_many(connection, body, _lines(many))
            answer: dict[str, Any] = {"task_ids": ids, "count": len(ids)}
        else:
            answer = connection.call("POST", TASKS, {**body, "input_data": _input(input)})
            ids = [answer["task_id"]]
        if watch:
            task_watch.follow(connection, ids, remote.json)
            return
    if remote.json:
        output.print_json(answer)
    else:
        output.print_text("\n".join(ids))


@tasks.command(name="list")
def list_tasks(
    *, status: str = "", type: str = "", node: str = "", limit: int = 50, offset: int = 0, remote: Remote = HERE
) -> None:
    """List tasks, newest first.

    For example:

    - `orchestrator tasks list`
    - `orchestrator tasks list --status failed --type resize --limit 200`

    Parameters
    ----------
    status
        pending, active, completed or failed, or a state such as queued, running, timeout, cancelled; several by commas.
    type
        Type of the tasks.
    node
        Node that has or had them.
    limit
        How many of each list: pending, active, completed, failed.
    offset
        How many to leave out first.
    """
    with Connection(remote) as connection:
        answer = connection.get(
            TASKS, status=status or None, task_type=type or None, node_id=node or None, limit=limit, offset=offset
        )
    if remote.json:
        output.print_json(answer)
        return
    found = [task for group in answer["tasks"].values() for task in group]
    output.print_table(COLUMNS, [row(task) for task in found], "There are no such tasks.")
    counts = ", ".join(f"{count:,} {name.removesuffix('_count')}" for name, count in answer["summary"].items())
    output.say(f"In all: {counts}.", "dim")


@tasks.command
def get(id: str, /, *, remote: Remote = HERE) -> None:
    """Show everything about a task, with its input and result.

    Examples: `orchestrator tasks get task_0123456789ab`

    Parameters
    ----------
    id
        Id of the task.
    """
    with Connection(remote) as connection:
        task = connection.get(f"{TASKS}/{segment(id)}")["task"]
    if remote.json:
        output.print_json(task)
        return
    output.print_fields(
        {
            "id": task["task_id"],
            "type": task["task_type"],
            "state": task["state"],
            "error": task["error_message"],
            "priority": task["priority"],
            "node": task["node_id"],
            "attempt": f"{task['attempt']}, {task['retry_count']} of {task['max_retries']} retries",
            "progress": task_watch.progress_text(task) or None,
            "created": moment(task["created_at"]),
            "started": moment(task["started_at"]),
            "finished": moment(task["completed_at"]),
            "next try": moment(task["next_try_at"]),
            "took": output.span(task["execution_time"]) if task["execution_time"] is not None else None,
            "waits for": task["waiting_for"],
            "submitted by": task["principal"],
            "input": json.dumps(task["input_data"], ensure_ascii=False),
            "result": json.dumps(task["result_data"], ensure_ascii=False),
        }
    )


@tasks.command
def cancel(*ids: str, choice: Choice | None = None, reason: str = "", yes: Yes = False, remote: Remote = HERE) -> None:
    """Cancel tasks, running ones too.

    For example:

    - `orchestrator tasks cancel task_0123456789ab`
    - `orchestrator tasks cancel --status pending --type resize`
    - `orchestrator tasks cancel --node node-001 --older-than 2h --yes`

    Parameters
    ----------
    ids
        Ids of the tasks; otherwise the choice below, whose number is shown first.
    reason
        Kept with the tasks.
    yes
        Do not ask.
    """
    with Connection(remote) as connection:
        if ids:
            only_ids(choice)
            each(connection, remote, ids, "cancel", {"reason": reason} if reason else {}, "cancelled")
        else:
            together(connection, remote, choice, "cancel", reason, yes, "cancelled")


@tasks.command
def retry(*ids: str, choice: Choice | None = None, yes: Yes = False, remote: Remote = HERE) -> None:
    """Begin tasks anew that failed, timed out or were cancelled.

    For example:

    - `orchestrator tasks retry task_0123456789ab`
    - `orchestrator tasks retry --status failed --type resize --yes`

    Parameters
    ----------
    ids
        Ids of the tasks; otherwise the choice below, whose number is shown first.
    yes
        Do not ask.
    """
    with Connection(remote) as connection:
        if ids:
            only_ids(choice)
            each(connection, remote, ids, "retry", {}, "queued again")
        else:
            together(connection, remote, choice, "retry", "", yes, "queued again")


@tasks.command
def explain(id: str, /, *, remote: Remote = HERE) -> None:
    """Say why a task is where it is, and why each node cannot have it now.

    Examples: `orchestrator tasks explain task_0123456789ab`

    Parameters
    ----------
    id
        Id of the task.
    """
    with Connection(remote) as connection:
        told = connection.get(f"{TASKS}/{segment(id)}/explain")["data"]
    if remote.json:
        output.print_json(told)
        return
    ahead = f" {told['ahead']:,} go first." if told["ahead"] else ""
    output.print_text(f"{told['state']}: {output.printable(told['reason'])}{ahead}")
    if told["nodes"]:
        rows = [(one["node_id"], one["eligible"], one["reason"]) for one in told["nodes"]]
        output.print_table(("node", "can take it", "why not"), rows)


@tasks.command(name="types")
def list_types(*, remote: Remote = HERE) -> None:
    """List the types of tasks that are ready, and those that are paused.

    Examples: `orchestrator tasks types`
    """
    with Connection(remote) as connection:
        answer = connection.get(f"{TASKS}/types")
    if remote.json:
        output.print_json(answer["types"])
        return
    rows = [(one["task_type"], one["ready"], "paused" if one["paused"] else "active") for one in answer["types"]]
    output.print_table(("type", "ready", "state"), rows, "No task is ready and no type is paused.")


@tasks.command
def pause(task_type: str, /, *, remote: Remote = HERE) -> None:
    """Let tasks of a type wait; those that run go on.

    Examples: `orchestrator tasks pause resize`

    Parameters
    ----------
    task_type
        The type.
    """
    with Connection(remote) as connection:
        answer = connection.call("POST", f"{TASKS}/types/{segment(task_type)}/pause")
    done(remote, answer, f"Tasks of type {task_type} wait.")


@tasks.command
def resume(task_type: str, /, *, remote: Remote = HERE) -> None:
    """Go on with tasks of a type.

    Examples: `orchestrator tasks resume resize`

    Parameters
    ----------
    task_type
        The type.
    """
    with Connection(remote) as connection:
        answer = connection.call("POST", f"{TASKS}/types/{segment(task_type)}/resume")
    done(remote, answer, f"Tasks of type {task_type} run again.")


def row(task: dict[str, Any]) -> tuple[Any, ...]:
    return (
        task["task_id"],
        task["task_type"],
        task["state"],
        task["priority"],
        task["node_id"],
        task["attempt"] or None,
        task_watch.age(task),
        task["error_message"] or task_watch.progress_text(task) or None,
    )


def moment(seconds: float | None) -> str | None:
    return None if seconds is None else output.moment(round(seconds * 1000))


def _submit_many(connection: Connection, body: dict[str, Any], inputs: list[Any]) -> list[str]:
    ids: list[str] = []
    for at in range(0, len(inputs), 1_000):
        part = [{**body, "input_data": one} for one in inputs[at : at + 1_000]]
        answer = connection.call("POST", f"{TASKS}/batch", {"tasks": part})
        ids += answer["task_ids"]
        refused = [one["error"] for one in answer["results"] if not one["success"]]
        if refused:
            raise WrongUsage(f"{len(ids)} tasks were submitted; then {len(refused)} were refused: {refused[0]}")
    return ids


def _labels(labels: tuple[str, ...]) -> dict[str, str]:
    found = dict(label.partition("=")[::2] for label in labels)
    if not all("=" in label and label[0] != "=" for label in labels):
        raise WrongUsage("--label: NAME=VALUE")
    return found


def _text(source: Path) -> str:
    try:
        return sys.stdin.read() if str(source) == "-" else source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{source} cannot be read: {error}") from None


def _input(text: str) -> Any:
    if text == "-" or text.startswith("@"):
        text = _text(Path(text.removeprefix("@")))
    return json_text.read(text, "the input")


def _lines(source: Path) -> list[Any]:
    lines = [line for line in _text(source).splitlines() if line.strip()]
    if not lines:
        raise WrongUsage(f"--many: {source} has no line.")
    return [json_text.read(line, f"line {number}") for number, line in enumerate(lines, 1)]
