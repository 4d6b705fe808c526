"""`orchestrator status`."""

from __future__ import annotations

import sys
import time
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from orchestrator.domain.node import NodeKind
from orchestrator.entrypoints.cli import nodes, output
from orchestrator.entrypoints.cli.connection import Connection
from orchestrator.entrypoints.cli.failure import ServiceUnreachable, described, told
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Seconds


def status(
    *,
    watch: Flag = False,
    interval: Seconds = 2.0,
    remote: Remote = HERE,
) -> None:
    """Show how the service, its queue and its nodes are.

    Examples: `orchestrator status`, `orchestrator status --watch`, `orchestrator status --json`

    Parameters
    ----------
    watch
        Keep showing it until Ctrl-C; with --json one object a line.
    interval
        Time between two looks, such as 2s or 500ms.
    """
    with Connection(remote) as connection:
        if watch:
            follow(connection, remote, max(interval, 0.1))
            return
        found = look(connection)
    if remote.json:
        output.print_json(found)
        return
    output.print_fields(summary(found))
    if found["servers"]:
        output.print_text("")
    output.print_table(nodes.COLUMNS, [nodes.row(server) for server in found["servers"]])
    for line in hints(found):
        output.say(line)


def look(connection: Connection) -> dict[str, Any]:
    health = connection.admin("GET", "/health")
    return {"url": connection.url, **health, "servers": connection.admin("GET", "/servers")["servers"]}


def summary(found: dict[str, Any]) -> dict[str, Any]:
    queue = found["queue"]
    servers = found["servers"]
    healthy = sum(server["healthy"] for server in servers)
    return {
        "service": f"{found['status']}, version {found['version']}, at {found['url']}",
        "up": output.span(found["uptime"]),
        "nodes": f"{healthy} of {len(servers)} healthy",
        "in flight": found["inFlightRequests"],
        "queue": f"{queue['currentSize']} of {queue['maxSize']}" + (", paused" if queue["paused"] else ""),
        "requests/s": found["requestsPerSecond"],
    }


def hints(found: dict[str, Any]) -> list[str]:
    servers = found["servers"]
    if not servers:
        return ["There are no nodes. Add one with `orchestrator nodes add ID URL`."]
    if all(server["kind"] == NodeKind.DEMO for server in servers):
        return [
            "Only demo nodes: no model runs there, they answer with canned text.",
            "Add a real one with `orchestrator nodes add ID URL`.",
        ]
    if found["queue"]["paused"]:
        return ["The queue is paused: `orchestrator queue resume` takes requests again."]
    return []


def follow(connection: Connection, remote: Remote, interval: float) -> None:
    """Until Ctrl-C, which is the way to end it and no failure. A service that is away is waited for."""
    try:
        if remote.json or not sys.stdout.isatty():
            while True:
                _print(connection, remote)
                time.sleep(interval)
        with Live(console=output.out(), auto_refresh=False, transient=False) as live:
            while True:
                live.update(_screen(connection), refresh=True)
                time.sleep(interval)
    except KeyboardInterrupt:
        return


def _print(connection: Connection, remote: Remote) -> None:
    try:
        found = look(connection)
    except ServiceUnreachable as error:
        if remote.json:
            output.print_json(described(error))
        else:
            output.fail(told(error))
        return
    if remote.json:
        output.print_json(found)
    else:
        output.print_fields(summary(found))
        output.print_table(nodes.COLUMNS, [nodes.row(server) for server in found["servers"]])


def _screen(connection: Connection) -> Group:
    now = time.strftime("%H:%M:%S")
    try:
        found = look(connection)
    except ServiceUnreachable as error:
        return Group(Text(now, style="dim"), Text(told(error), style="red"))
    rows = [[output.shown(cell) for cell in nodes.row(server)] for server in found["servers"]]
    return Group(
        Text(now, style="dim"),
        output.fields_table(summary(found)),
        Text(),
        output.rich_table(nodes.COLUMNS, rows),
        *(Text(line) for line in hints(found)),
    )
