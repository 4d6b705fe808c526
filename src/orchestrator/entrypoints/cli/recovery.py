"""`orchestrator recovery`."""

from __future__ import annotations

from cyclopts import App

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Remote

recovery = App(name="recovery", help="How nodes come back after failures.")


@recovery.command(name="list")
def list_recoveries(*, remote: Remote = HERE) -> None:
    """List the nodes that had to recover.

    Examples: `orchestrator recovery list`
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/recovery-failures/stats/all")
    if remote.json:
        output.print_json(answer)
        return
    rows = [
        (
            one["serverId"],
            one["pattern"],
            one["totalRecoveryAttempts"],
            f"{one['failureRate'] * 100:.0f}%",
            one["currentConsecutiveFailures"],
            output.moment(one["lastSuccessfulRecovery"]),
            one["lastFailureReason"],
        )
        for one in answer["servers"]
    ]
    columns = ("node", "pattern", "attempts", "failed", "in a row", "last success", "last failure")
    output.print_table(columns, rows, "No node had to recover.")


@recovery.command
def show(node: str, /, *, remote: Remote = HERE) -> None:
    """Show a node's last failures, and what they tell.

    Examples: `orchestrator recovery show gpu1`

    Parameters
    ----------
    node
        The node.
    """
    path = f"/recovery-failures/{segment(node)}"
    with Connection(remote) as connection:
        stats = connection.admin("GET", path)
        told = connection.admin("GET", f"{path}/analysis")
        impact = connection.admin("GET", f"{path}/circuit-breaker-impact")
        failures = connection.admin("GET", f"{path}/history?limit=20")["history"]
    if remote.json:
        output.print_json({"stats": stats, "analysis": told, "circuitBreakerImpact": impact, "history": failures})
        return
    rows = [
        (output.moment(one["timestamp"]), one["model"], one["source"].replace("_", " "), one["errorType"], one["error"])
        for one in failures
    ]
    output.print_table(("when", "model", "by", "error type", "error"), rows, "No attempt failed.")
    output.say(f"{node}: {told['pattern']}, trend {told['trend']}, {impact['openTransitions']} breakers opened.")
    for advice in [*told["recommendations"], *impact["recommendations"]]:
        output.say(advice)


@recovery.command
def reset(node: str, /, *, remote: Remote = HERE) -> None:
    """Forget what is recorded of a node; its breakers stay as they are.

    Examples: `orchestrator recovery reset gpu1`

    Parameters
    ----------
    node
        The node.
    """
    with Connection(remote) as connection:
        answer = connection.admin("POST", f"/recovery-failures/{segment(node)}/reset")
    done(remote, answer, f"{answer['message']}.")
