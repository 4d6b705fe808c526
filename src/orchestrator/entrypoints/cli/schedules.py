"""`orchestrator schedules`."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cyclopts import App

from orchestrator.entrypoints.cli import json_text, output
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import WrongUsage
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Seconds, Yes

schedules = App(name="schedules", help="Tasks that are submitted by the calendar or at an interval.")

SCHEDULES = "/api/v1/schedules"
PAGE = 1_000
COLUMNS = ("id", "type", "when", "next", "last", "runs", "failures", "missed", "error")


@schedules.command(name="list")
def list_schedules(*, remote: Remote = HERE) -> None:
    """List the schedules.

    Examples: `orchestrator schedules list`, `orchestrator schedules list --json`
    """
    found: list[dict[str, Any]] = []
    after: str | None = None
    with Connection(remote) as connection:
        while True:
            page = connection.get(SCHEDULES, limit=PAGE, after=after)
            found += page["schedules"]
            after = page["next"]
            if after is None:
                break
    if remote.json:
        output.print_json(found)
    else:
        output.print_table(COLUMNS, [row(one) for one in found], "There are no schedules.")


@schedules.command
def show(id: str, /, *, remote: Remote = HERE) -> None:
    """Show everything about one schedule.

    Examples: `orchestrator schedules show nightly`

    Parameters
    ----------
    id
        Id of the schedule.
    """
    with Connection(remote) as connection:
        schedule = connection.get(path(id))["schedule"]
    if remote.json:
        output.print_json(schedule)
        return
    times = {name: moment(schedule[name]) for name in ("start_at", "created_at", "next_run_at", "last_run_at")}
    shown = schedule | times | {"task": json.dumps(schedule["task"], ensure_ascii=False)}
    output.print_fields({name.replace("_", " "): value for name, value in shown.items()})


@schedules.command
def create(
    id: str,
    task: str,
    /,
    *,
    cron: str = "",
    interval: Seconds | None = None,
    timezone: str = "UTC",
    catch_up: Literal["none", "one", "all"] = "none",
    jitter: Seconds | None = None,
    paused: Flag = False,
    remote: Remote = HERE,
) -> None:
    """Add a schedule.

    For example:

    - `orchestrator schedules create nightly '{"task_type": "report"}' --cron "30 2 * * *" --timezone Europe/Berlin`
    - `orchestrator schedules create refresh @task.json --interval 10m --jitter 30s`

    Parameters
    ----------
    id
        Id of the schedule.
    task
        The task: JSON as for POST /api/v1/tasks, or @FILE with it.
    cron
        Minute, hour, day of month, month and weekday.
    interval
        Time from one run to the next, in seconds or as in 10m.
    timezone
        IANA name, for --cron.
    catch_up
        What becomes of missed runs: nothing, one for all of them, or all.
    jitter
        A run begins up to so much later.
    paused
        Do not begin yet.
    """
    body: dict[str, Any] = {"schedule_id": id, "task": read(task), "timezone": timezone, "catch_up": catch_up}
    body |= {"cron": cron, "interval": interval, "jitter": jitter or 0.0, "paused": paused}
    with Connection(remote) as connection:
        answer = connection.call("POST", SCHEDULES, body)
    done(remote, answer, f"Added {id}.{coming(answer)}")


@schedules.command
def delete(id: str, /, *, yes: Yes = False, remote: Remote = HERE) -> None:
    """Forget a schedule; tasks that it has submitted stay.

    Examples: `orchestrator schedules delete nightly --yes`

    Parameters
    ----------
    id
        Id of the schedule.
    yes
        Do not ask.
    """
    confirm(f"Delete the schedule {id}?", yes)
    with Connection(remote) as connection:
        answer = connection.call("DELETE", path(id))
    done(remote, answer, f"Deleted {id}.")


@schedules.command
def pause(id: str, /, *, remote: Remote = HERE) -> None:
    """Submit nothing until it is resumed.

    Examples: `orchestrator schedules pause nightly`

    Parameters
    ----------
    id
        Id of the schedule.
    """
    with Connection(remote) as connection:
        answer = connection.call("POST", f"{path(id)}/pause")
    done(remote, answer, f"{id} is paused. `orchestrator schedules resume {id}` goes on.")


@schedules.command
def resume(id: str, /, *, remote: Remote = HERE) -> None:
    """Go on with a paused schedule.

    Examples: `orchestrator schedules resume nightly`

    Parameters
    ----------
    id
        Id of the schedule.
    """
    with Connection(remote) as connection:
        answer = connection.call("POST", f"{path(id)}/resume")
    done(remote, answer, f"{id} goes on.{coming(answer)}")


@schedules.command
def trigger(id: str, /, *, remote: Remote = HERE) -> None:
    """Submit the task of a schedule now; its id is printed.

    Examples: `orchestrator schedules trigger nightly`

    Parameters
    ----------
    id
        Id of the schedule.
    """
    with Connection(remote) as connection:
        answer = connection.call("POST", f"{path(id)}/trigger")
    if remote.json:
        output.print_json(answer)
    else:
        output.print_text(answer["task_id"])


@schedules.command(name="next")
def following(id: str, /, *, count: int = 10, remote: Remote = HERE) -> None:
    """Show when a schedule comes next.

    Examples: `orchestrator schedules next nightly --count 5`

    Parameters
    ----------
    id
        Id of the schedule.
    count
        How many, 1 to 1,000.
    """
    with Connection(remote) as connection:
        ticks = connection.get(f"{path(id)}/next", count=count)["next"]
    if remote.json:
        output.print_json(ticks)
    else:
        rows = [(moment(tick), output.span(max(0.0, tick - time.time()))) for tick in ticks]
        output.print_table(("UTC", "in"), rows, "It does not come again.")


def path(id: str) -> str:
    return f"{SCHEDULES}/{segment(id)}"


def read(task: str) -> Any:
    """JSON, or @FILE with it. Raises WrongUsage."""
    try:
        text = Path(task[1:]).read_text(encoding="utf-8") if task.startswith("@") else task
    except OSError as error:
        raise WrongUsage(f"{task[1:]} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{task[1:]} cannot be read: {error}") from None
    return json_text.read(text, "The task")


def row(schedule: dict[str, Any]) -> tuple[Any, ...]:
    return (
        schedule["schedule_id"],
        schedule["task"]["task_type"],
        rhythm(schedule),
        "paused" if schedule["paused"] else moment(schedule["next_run_at"]),
        moment(schedule["last_run_at"]),
        schedule["runs"],
        schedule["failures"],
        schedule["missed"],
        schedule["last_error"],
    )


def rhythm(schedule: dict[str, Any]) -> str:
    if schedule["interval"] is not None:
        return f"every {output.span(schedule['interval'])}"
    return f"{schedule['cron']} {schedule['timezone']}"


def moment(seconds: float | None) -> str | None:
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def coming(answer: dict[str, Any]) -> str:
    at = moment(answer["schedule"]["next_run_at"])
    return f" The next run is at {at} UTC." if at else ""
