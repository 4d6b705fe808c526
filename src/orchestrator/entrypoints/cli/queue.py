"""`orchestrator queue`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Remote

queue = App(name="queue", help="Requests that wait for room.")


@queue.command
def show(*, limit: Annotated[int, Parameter(validator=Number(gte=0, lte=10_000))] = 100, remote: Remote = HERE) -> None:
    """Show who waits, in the order of being served.

    Examples: `orchestrator queue show`, `orchestrator queue show --limit 10 --json`

    Parameters
    ----------
    limit
        How many of those that wait.
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/queue", limit=limit)
    if remote.json:
        output.print_json(answer)
        return
    found = answer["queue"]
    output.print_fields(
        {
            "waiting": f"{found['currentSize']} of {found['maxSize']}" + (", paused" if found["paused"] else ""),
            "in flight": sum(one["total"] for one in answer["inFlight"].values()),
            "queued since start": found["totalQueued"],
            "dropped since start": found["totalDropped"],
            "average wait": output.span(found["avgWaitTime"] / 1000),
        }
    )
    if found["items"]:
        output.print_text("")
        rows = [
            (place, one["model"], one["priority"], output.span(one["waitTime"] / 1000), one.get("clientId"), one["id"])
            for place, one in enumerate(found["items"], start=1)
        ]
        output.print_table(("place", "model", "priority", "waited", "who", "request"), rows)


@queue.command
def pause(*, remote: Remote = HERE) -> None:
    """Turn new requests away; those that wait keep their places.

    Examples: `orchestrator queue pause`
    """
    with Connection(remote) as connection:
        answer = connection.admin("POST", "/queue/pause")
    done(remote, answer, "Paused: new requests are answered with 503.")


@queue.command
def resume(*, remote: Remote = HERE) -> None:
    """Take requests again.

    Examples: `orchestrator queue resume`
    """
    with Connection(remote) as connection:
        answer = connection.admin("POST", "/queue/resume")
    done(remote, answer, "Requests are taken again.")
