"""`orchestrator workers`."""

from __future__ import annotations

import time
from typing import Any

from cyclopts import App

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Remote, Yes

workers = App(name="workers", help="Nodes that run tasks: list, show, drain, take back and remove them.")

NODES = "/api/v1/nodes"
MODEL_SERVER = "model_server"
COLUMNS = ("id", "type", "state", "mode", "slots", "cpu %", "memory %", "load", "heartbeat", "address")


@workers.command(name="list")
def list_workers(*, remote: Remote = HERE) -> None:
    """List the workers with their state. (`orchestrator nodes list` has the model servers.)

    Examples: `orchestrator workers list`, `orchestrator workers list --json`
    """
    with Connection(remote) as connection:
        answer = connection.get(NODES)
    found = [node for node in answer["nodes"].values() if node["mode"] != MODEL_SERVER]
    if remote.json:
        output.print_json(found)
        return
    empty = "There are no workers. A worker registers itself: see docs/reference/tasks-api.md."
    output.print_table(COLUMNS, [row(node) for node in sorted(found, key=lambda node: str(node["node_id"]))], empty)


@workers.command
def show(id: str, /, *, remote: Remote = HERE) -> None:
    """Show everything about one worker.

    Examples: `orchestrator workers show node-001`

    Parameters
    ----------
    id
        Name of the worker.
    """
    with Connection(remote) as connection:
        node = connection.get(f"{NODES}/{segment(id)}")["node"]
    if remote.json:
        output.print_json(node)
    else:
        output.print_fields(fields(node))


@workers.command
def drain(id: str, /, *, remote: Remote = HERE) -> None:
    """Give a worker no new tasks; those that it runs may finish.

    Examples: `orchestrator workers drain node-001`

    Parameters
    ----------
    id
        Name of the worker.
    """
    with Connection(remote) as connection:
        answer = connection.call("POST", f"{NODES}/{segment(id)}/drain")
    done(remote, answer, f"{id} gets no new tasks. `orchestrator workers undrain {id}` takes it back.")


@workers.command
def undrain(id: str, /, *, remote: Remote = HERE) -> None:
    """Take a drained worker, or one in maintenance or error, back.

    Examples: `orchestrator workers undrain node-001`

    Parameters
    ----------
    id
        Name of the worker.
    """
    with Connection(remote) as connection:
        answer = connection.call("PUT", f"{NODES}/{segment(id)}/status", {"status": "active"})
    done(remote, answer, f"{id} takes tasks again.")


@workers.command
def remove(id: str, /, *, yes: Yes = False, remote: Remote = HERE) -> None:
    """Forget a worker; the tasks that it runs are run elsewhere.

    Examples: `orchestrator workers remove node-001 --yes`

    Parameters
    ----------
    id
        Name of the worker.
    yes
        Do not ask.
    """
    confirm(f"Remove the worker {id} and run its tasks elsewhere?", yes)
    with Connection(remote) as connection:
        answer = connection.call("DELETE", f"{NODES}/{segment(id)}")
    done(remote, answer, f"Removed {id}.")


def row(node: dict[str, Any]) -> tuple[Any, ...]:
    return (
        node["node_id"],
        node["node_type"],
        node["status"],
        node["mode"],
        node["max_concurrency"],
        node["cpu_usage"],
        node["memory_usage"],
        node["load_score"],
        ago(node),
        address(node),
    )


def fields(node: dict[str, Any]) -> dict[str, Any]:
    """A worker's fields as a person reads them."""
    held = " (set by an operator)" if node.get("held_by_operator") else ""
    return {
        "id": node["node_id"],
        "type": node["node_type"],
        "state": f"{node['status']}{held}",
        "address": address(node),
        "slots": node["max_concurrency"],
        "capabilities": node["capabilities"],
        "task types": node["task_types"] or "all",
        "labels": node["labels"],
        "usage": f"cpu {node['cpu_usage']:g} %, memory {node['memory_usage']:g} %, gpu {node['gpu_usage']:g} %",
        "load": node["load_score"],
        "latency ms": node["network_latency"] or None,
        "heartbeat": ago(node),
        "tasks": f"{node['tasks_completed']} completed, {node['tasks_failed']} failed",
        "reliability": node["reliability_score"],
        "version": node["version"],
        "location": node["location"],
        "agents": [agent["agent_id"] for agent in node["agents"]],
    }


def ago(node: dict[str, Any]) -> str | None:
    last = node["last_heartbeat"]
    return f"{output.span(max(0.0, time.time() - last))} ago" if last else None


def address(node: dict[str, Any]) -> str:
    return "pulls" if node["mode"] == "pull" else f"{node['host']}:{node['port']}"
