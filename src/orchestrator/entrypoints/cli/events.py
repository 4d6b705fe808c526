"""`orchestrator events`."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx2
from cyclopts import App, Parameter
from rich.text import Text

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection
from orchestrator.entrypoints.cli.failure import ServiceUnreachable, WrongUsage
from orchestrator.entrypoints.cli.options import HERE, Remote
from orchestrator.settings.section import seconds

EVENTS = "/api/v1/events"
SILENCE = 60.0  # seconds; the service says something every 15
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds before a broken connection is made again
STYLES = {"task_completed": "green", "task_failed": "red", "node_failure": "red", "missed": "yellow"}
Types = Annotated[tuple[str, ...], Parameter(negative=())]

events = App(name="events", help="Events: what happens to tasks and nodes.")


@events.command
def tail(*, type: Types = (), task: str = "", since: str = "", remote: Remote = HERE) -> None:
    """Show what happens to tasks and nodes, as it happens, until Ctrl-C. A broken connection is made again, and what
    happened meanwhile comes first.

    For example:

    - `orchestrator events tail`
    - `orchestrator events tail --type task_failed --type node_failure`
    - `orchestrator events tail --task task_0123456789ab --since 1h`
    - `orchestrator events tail --since 2026-01-31T08:00:00Z --json | jq .data`

    Parameters
    ----------
    type
        Only events of this type, such as task_completed; may be given several times.
    task
        Only events of the task with this id.
    since
        Begin with the events of that moment: ISO 8601, or how long ago as in 10m; otherwise with the next one. How far
        back events are kept says the setting tasks.keep_events.
    """
    query = {"type": ",".join(type) or None, "task": task or None, "since": _since(since) or None}
    with Connection(remote) as connection:
        _Tail(connection, query, remote.json).run()


class _Tail:
    """One run of the command, over any number of connections."""

    def __init__(self, connection: Connection, query: dict[str, Any], as_json: bool) -> None:
        self._connection = connection
        self._query = query
        self._as_json = as_json
        self._last = ""  # id of the last event
        self._pause = FIRST_PAUSE
        self._connected = False

    def run(self) -> None:
        """Until interrupted. Raises ServiceUnreachable when nothing answers at first, Refused."""
        while True:
            try:
                self._once()
            except ServiceUnreachable as error:
                if not self._connected:
                    raise
                output.warn(f"{error.message} Trying again.")
            time.sleep(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _once(self) -> None:
        headers = {"Accept": "text/event-stream"}
        if self._last:
            headers["Last-Event-ID"] = self._last
        with self._connection.stream(EVENTS, None, SILENCE, method="GET", query=self._query, headers=headers) as answer:
            self._read(answer)

    def _read(self, answer: httpx2.Response) -> None:
        frame: dict[str, str] = {}
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            if line:
                frame[field] = value
                continue
            self._connected, self._pause = True, FIRST_PAUSE
            if "data" in frame:
                self._hear(frame)
            frame = {}

    def _hear(self, frame: dict[str, str]) -> None:
        kind, said = frame.get("event", ""), json.loads(frame["data"])
        self._last = frame.get("id", self._last)
        if kind == "end":
            output.say("The service has stopped. Waiting for it.", "dim")
        elif kind == "missed" and not self._as_json:
            output.warn(f"events are missing here: {output.printable(str(said.get('reason', '')))}")
        else:
            whole = said if "type" in said else {"type": kind, "data": said}
            show({**whole, "id": self._last}, self._as_json)


def show(event: dict[str, Any], as_json: bool) -> None:
    """One event, on a line of its own."""
    if as_json:
        output.print_text(json.dumps(event, ensure_ascii=False))
        return
    data = dict(event["data"])
    what = output.printable(str(data.pop("task_id", None) or data.pop("node_id", None) or ""))
    fields = " ".join(f"{name}={output.shown(value)}" for name, value in data.items() if value not in (None, ""))
    if not sys.stdout.isatty():
        output.print_text(f"{event['timestamp']}\t{event['type']}\t{what}\t{fields}")
        return
    line = Text(f"{event['timestamp']} ", style="dim")
    line.append(f"{event['type']:16} ", style=STYLES.get(event["type"], ""))
    line.append(f"{what}  {fields}".rstrip(), style="default")
    output.out().print(line)


def _since(text: str) -> str:
    """A moment in RFC 3339."""
    if not text:
        return ""
    ago: object = None
    with contextlib.suppress(ValueError):
        ago = seconds(text)
    try:
        if isinstance(ago, float):
            return (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise WrongUsage(f"--since: '{text}' is neither a moment nor a time such as 10m") from None
    return (moment if moment.tzinfo else moment.astimezone()).isoformat()
