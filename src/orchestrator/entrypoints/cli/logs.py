"""`orchestrator logs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import httpx2
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import ADMIN, Connection
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote

SILENCE = 60.0  # seconds; the service says something every 15
LEVEL_STYLES = {"debug": "dim", "info": "green", "warn": "yellow", "error": "red"}
Level = Literal["debug", "info", "warn", "warning", "error"]


def logs(
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative=(), show_default=False)] = False,
    level: Level = "debug",
    search: str = "",
    since: str = "",
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=10_000))] = 100,
    clear: Flag = False,
    remote: Remote = HERE,
) -> None:
    """Show the latest log entries of the service, the newest last.

    For example:

    - `orchestrator logs`
    - `orchestrator logs --follow --level warn`
    - `orchestrator logs --search gpu1 --since 2026-01-31T08:00:00Z --json`
    - `orchestrator logs --clear`

    Parameters
    ----------
    follow
        Keep showing new entries until Ctrl-C or the end of the service; with --json one object a line.
    level
        This level and more serious ones.
    search
        Only entries with this text, in any field.
    since
        Only entries from this moment on: ISO 8601, or milliseconds since the epoch.
    limit
        How many entries of the past.
    clear
        Forget the entries that the service has in memory instead of showing them.
    """
    with Connection(remote) as connection:
        if clear:
            answer = connection.admin("POST", "/logs/clear")
            if remote.json:
                output.print_json(answer)
            else:
                output.say(f"{answer['removed']} entries forgotten.")
            return
        wanted = {"level": level, "search": search or None, "since": since or None}
        answer = connection.admin("GET", "/logs", limit=limit, **wanted)
        if remote.json and not follow:
            output.print_json(answer)
            return
        for entry in reversed(answer["logs"]):
            show(entry, remote.json)
        if follow:
            newest = answer["logs"][0]["id"] if answer["logs"] else "0"
            tail(connection, wanted, newest, remote.json)


def tail(connection: Connection, wanted: dict[str, Any], newest: str, as_json: bool) -> None:
    path = f"{ADMIN}/logs/stream"
    headers = {"Accept": "text/event-stream", "Last-Event-ID": newest}
    with connection.stream(path, None, SILENCE, method="GET", query=wanted, headers=headers) as answer:
        for name, data in events(answer):
            if name == "log":
                show(data, as_json)
            elif name == "lost":
                output.warn(f"{data['count']} entries came too fast to be shown")
            elif name == "end":
                output.say("The service has stopped.")
                return


def events(answer: httpx2.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events: name and data."""
    name = ""
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def show(entry: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_text(json.dumps(entry, ensure_ascii=False))
        return
    meta = dict(entry["meta"])
    trace = str(meta.pop("exception", "")).splitlines()
    fields = " ".join(f"{name}={output.shown(value)}" for name, value in meta.items())
    text = f"{output.printable(entry['message'])}  {fields}".rstrip()
    if not sys.stdout.isatty():
        output.print_text(f"{entry['timestamp']}\t{entry['level']}\t{entry['logger']}\t{text}")
    else:
        line = Text(f"{entry['timestamp']} ", style="dim")
        line.append(f"{entry['level']:5} ", style=LEVEL_STYLES.get(entry["level"], ""))
        line.append(text, style="default")
        output.out().print(line)
    for one in trace:
        output.print_text(f"    {output.printable(one)}")
