"""`orchestrator requests`: finished requests of the durable history."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import ADMIN, Connection, segment
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote

requests = App(name="requests", help="Finished requests.")
SILENCE = 60.0  # seconds between two parts of an export


@requests.command(name="list")
def list_requests(
    *,
    node: str | None = None,
    model: str | None = None,
    failed: Flag = False,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 20,
    remote: Remote = HERE,
) -> None:
    """List requests, the newest first.

    Examples: `orchestrator requests list --failed`, `orchestrator requests list --node gpu1 --limit 100 --json`

    Parameters
    ----------
    node
        Only those of this node.
    model
        Only those for this model.
    failed
        Only those that ended with an error.
    limit
        How many.
    """
    wanted = {"serverId": node, "model": model, "success": "false" if failed else None}
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/analytics/requests/browse", limit=limit, **wanted)
    if remote.json:
        output.print_json(answer)
        return
    columns = ("at", "request", "node", "model", "outcome", "duration", "tokens")
    output.print_table(columns, [_row(one) for one in answer["requests"]], empty="No request was found.")


@requests.command
def get(request_id: str, /, *, remote: Remote = HERE) -> None:
    """Show one request, by the X-Request-Id of its answer.

    Examples: `orchestrator requests get req-1a2b3c4d-5`

    Parameters
    ----------
    request_id
        The request's id.
    """
    path = f"/requests/{segment(request_id)}"
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/analytics/requests/search", id=request_id, limit=1)
        if not answer["requests"]:  # not among those kept for good: the one place that says 404 in its own words
            answer = {"requests": [connection.admin("GET", path)["request"]]}
    found: dict[str, Any] = answer["requests"][0]
    if remote.json:
        output.print_json(found)
        return
    output.print_fields({name: value for name, value in found.items() if value not in (None, [])})


@requests.command
def export(
    *,
    format: Literal["csv", "json"] = "csv",
    time_range: Literal["1h", "6h", "24h", "7d", "30d"] = "24h",
    to: Path | None = None,
    remote: Remote = HERE,
) -> None:
    """Write requests to a file, or to standard output.

    Examples: `orchestrator requests export --time-range 7d --to requests.csv`

    Parameters
    ----------
    format
        csv or json.
    time_range
        How far back.
    to
        The file; none is standard output.
    """
    query = {"format": format, "timeRange": time_range}
    with (
        Connection(remote) as connection,
        connection.stream(f"{ADMIN}/analytics/export", None, SILENCE, method="GET", query=query) as answer,
    ):
        if to is None:
            for part in answer.iter_bytes():
                sys.stdout.buffer.write(part)
            sys.stdout.flush()
            return
        with to.open("wb") as file:
            for part in answer.iter_bytes():
                file.write(part)
    output.say(f"Written to {to}.")


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    at = datetime.fromtimestamp(one["timestamp"] / 1000).astimezone().isoformat(sep=" ", timespec="seconds")
    outcome = one["errorType"] or one["outcome"]
    duration = output.span(one["duration"] / 1000)
    return at, one["id"], one["serverId"], one["model"], outcome, duration, one["tokensGenerated"]
