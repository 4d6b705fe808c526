"""`orchestrator breakers`."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Seconds

breakers = App(name="breakers", help="Circuit breakers of nodes and of models on nodes.")
OF_NODE = "server"  # the service's word for a node's own breaker, where a model's name is expected


@breakers.command(name="list")
def list_breakers(*, tripped: Flag = False, remote: Remote = HERE) -> None:
    """List the breakers with their states and reasons.

    Examples: `orchestrator breakers list`, `orchestrator breakers list --tripped`

    Parameters
    ----------
    tripped
        Only those that are not closed.
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/circuit-breakers")
    found = [one for one in answer["circuitBreakers"] if not tripped or one["state"] != "CLOSED"]
    if remote.json:
        output.print_json({**answer, "count": len(found), "circuitBreakers": found})
        return
    columns = ("node", "model", "state", "failures", "error rate", "reopens in", "reason")
    output.print_table(columns, [row(one) for one in found], "There are none.")


def row(one: dict[str, Any]) -> tuple[Any, ...]:
    left = one.get("timeLeft")
    return (
        one["serverIdOnly"],
        one["model"] or None,
        one["state"].lower(),
        one["failureCount"],
        f"{one['errorRate'] * 100:.0f}%",
        output.span(left / 1000) if left else None,
        one.get("reason") or one.get("lastFailureReason"),
    )


@breakers.command(name="open")
def force_open(
    node: str,
    model: str = OF_NODE,
    /,
    *,
    duration: Annotated[Seconds | None, Parameter(name="--for")] = None,
    remote: Remote = HERE,
) -> None:
    """Keep traffic away from a node, or from one model on it.

    Examples: `orchestrator breakers open gpu1`, `orchestrator breakers open gpu1 llama3 --for 10m`

    Parameters
    ----------
    node
        The node.
    model
        The model; without it, the node's own breaker.
    duration
        How long, such as 30s, 10m or 1h; without it, until you close it.
    """
    body = {"durationMs": round(duration * 1000)} if duration is not None else None
    _force(remote, node, model, "open", body)


@breakers.command
def close(node: str, model: str = OF_NODE, /, *, remote: Remote = HERE) -> None:
    """Let traffic through; the counts stay.

    Examples: `orchestrator breakers close gpu1 llama3`

    Parameters
    ----------
    node
        The node.
    model
        The model; without it, the node's own breaker.
    """
    _force(remote, node, model, "close")


@breakers.command
def half_open(node: str, model: str = OF_NODE, /, *, remote: Remote = HERE) -> None:
    """Let trial requests through; their success closes it.

    Examples: `orchestrator breakers half-open gpu1 llama3`

    Parameters
    ----------
    node
        The node.
    model
        The model; without it, the node's own breaker.
    """
    _force(remote, node, model, "half-open")


@breakers.command
def reset(node: str, model: str | None = None, /, *, remote: Remote = HERE) -> None:
    """Close a breaker and forget its counts.

    Examples: `orchestrator breakers reset gpu1`, `orchestrator breakers reset gpu1 llama3`

    Parameters
    ----------
    node
        The node.
    model
        The model; without it, the node's own breaker and those of all its models.
    """
    path = f"/circuit-breakers/{segment(node)}" + (f"/{segment(model)}" if model is not None else "") + "/reset"
    with Connection(remote) as connection:
        answer = connection.admin("POST", path)
    done(remote, answer, f"{answer['message']}.")


@breakers.command(name="test")
def make_test(node: str, model: str = OF_NODE, /, *, remote: Remote = HERE) -> None:
    """Test a half-open breaker now; a pass counts as a successful trial.

    Examples: `orchestrator breakers test gpu1`, `orchestrator breakers test gpu1 llama3`

    Parameters
    ----------
    node
        The node.
    model
        The model, which is loaded if need be; without it, the node's own breaker, by a probe.
    """
    with Connection(remote) as connection:
        answer = connection.admin("POST", f"/servers/{segment(node)}/models/{segment(model)}/recovery-test")
    if not answer["success"]:
        raise CommandFailed(f"{answer['message']}: {answer['error']}", details={"breakerState": answer["breakerState"]})
    done(remote, answer, f"{answer['message']}; it is {answer['breakerState']}.")


def _force(remote: Remote, node: str, model: str, action: str, body: Any = None) -> None:
    with Connection(remote) as connection:
        answer = connection.admin("POST", f"/circuit-breakers/{segment(node)}/{segment(model)}/{action}", body)
    done(remote, answer, f"{answer['message']}.")
