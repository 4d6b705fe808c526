"""`orchestrator models warm`, `unload`, `status` and `idle`: models in the memories of the fleet."""

from __future__ import annotations

import time
from typing import Annotated, Any

from cyclopts import App, Parameter

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Seconds

LOOK_AGAIN = 0.5  # seconds
RUNNING = ("queued", "loading")


def register(models: App) -> None:
    """Adds the commands to the group `models`."""
    models.command(warm)
    models.command(unload)
    models.command(status)
    models.command(idle)


def warm(
    model: str,
    /,
    *,
    on: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    wait: Flag = False,
    remote: Remote = HERE,
) -> None:
    """Load a model into memory, in the background.

    For example:

    - `orchestrator models warm llama3`
    - `orchestrator models warm llama3 --on gpu1 --wait`

    Parameters
    ----------
    model
        Model or alias.
    on
        Node to load it on; may be given several times. All healthy ones that have it when left out.
    wait
        Wait until it is loaded or has failed.
    """
    path = f"/models/{segment(model)}"
    with Connection(remote) as connection:
        answer = connection.admin("POST", f"{path}/warmup", {"servers": list(on)} if on else {})
        if wait:
            _await(connection, path, answer["jobs"])
    if remote.json:
        output.print_json(answer)
    else:
        rows = [(job["serverId"], job["status"], _span(job["estimatedTime"]), job["error"]) for job in answer["jobs"]]
        output.print_table(("node", "state", "expected time", "note"), rows)
    failed = [job["serverId"] for job in answer["jobs"] if job["status"] == "failed"]
    if failed:
        raise CommandFailed(f"{answer['model']} was not loaded on {', '.join(failed)}.")


def _await(connection: Connection, path: str, jobs: list[dict[str, Any]]) -> None:
    """Follows jobs to their end."""
    running = [job for job in jobs if job["status"] in RUNNING]
    while running:
        time.sleep(LOOK_AGAIN)
        servers = connection.admin("GET", f"{path}/status")["servers"]
        for job in running:
            now = servers.get(job["serverId"], {"loading": False, "loaded": False, "error": "the node was removed"})
            if not now["loading"]:
                job["status"] = "loaded" if now["loaded"] else "failed" if now["error"] else "cancelled"
                job["error"] = now["error"]
        running = [job for job in running if job["status"] in RUNNING]


def unload(model: str, /, *, on: str | None = None, remote: Remote = HERE) -> None:
    """Take a model out of memory; requests that use it finish first.

    Examples: `orchestrator models unload llama3`, `orchestrator models unload llama3 --on gpu1`

    Parameters
    ----------
    model
        Model or alias.
    on
        Node to unload it from; wherever it is when left out.
    """
    with Connection(remote) as connection:
        answer = connection.admin("POST", f"/models/{segment(model)}/unload", {"serverId": on} if on else {})
    failed = [f"{one['serverId']} ({one['error']})" for one in answer["results"] if not one["success"]]
    freed = [one["serverId"] for one in answer["results"] if one["success"]]
    if remote.json or not failed:
        done(remote, answer, f"Unloaded {answer['model']} from {', '.join(freed)}.")
    if failed:
        raise CommandFailed(f"{answer['model']} was not unloaded from {', '.join(failed)}.")


def status(model: str | None = None, /, *, remote: Remote = HERE) -> None:
    """Show which models are in which memory, as the nodes say themselves.

    Examples: `orchestrator models status`, `orchestrator models status llama3 --json`

    Parameters
    ----------
    model
        Model or alias; all when left out.
    """
    with Connection(remote) as connection:
        if model is None:
            answer = connection.admin("GET", "/models/status")
            found = answer["models"]
        else:
            answer = connection.admin("GET", f"/models/{segment(model)}/status")
            found = {answer["model"]: answer}
    if remote.json:
        output.print_json(answer)
        return
    rows = [
        (
            name,
            node,
            _state(one),
            _memory(one["gpuMemory"]),
            output.moment(one["lastUsed"]),
            _span(one["loadTime"]),
            one["error"],
        )
        for name, told in found.items()
        for node, one in told["servers"].items()
    ]
    columns = ("model", "node", "state", "GPU memory", "last used", "load takes", "note")
    output.print_table(columns, rows, "No node has a model.")


def idle(*, threshold: Seconds = 1800.0, remote: Remote = HERE) -> None:
    """List models in memory that nobody uses.

    Examples: `orchestrator models idle`, `orchestrator models idle --threshold 10m`

    Parameters
    ----------
    threshold
        How long nobody has used them, in seconds or as in 10m.
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/models/idle", threshold=round(threshold * 1000))
    if remote.json:
        output.print_json(answer)
        return
    rows = [
        (one["model"], one["serverId"], output.span(one["idleTime"] / 1000), _memory(one["gpuMemory"]))
        for one in answer["models"]
    ]
    empty = f"No model has been idle in memory for {output.span(threshold)}."
    output.print_table(("model", "node", "idle for", "GPU memory"), rows, empty)


def _state(one: dict[str, Any]) -> str:
    if one["loading"]:
        return "loading"
    if one["loaded"] is None:
        return "not told"
    if one["loaded"]:
        return "always in memory" if one["alwaysInMemory"] else "in use" if one["inUse"] else "in memory"
    return "failed" if one["failed"] else "not in memory"


def _memory(megabytes: float | None) -> str | None:
    return output.size(round(megabytes * 1e6)) if megabytes is not None else None


def _span(milliseconds: int | None) -> str | None:
    return output.span(milliseconds / 1000) if milliseconds is not None else None
