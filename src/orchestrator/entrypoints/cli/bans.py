"""`orchestrator bans`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import WrongUsage
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Seconds, Yes

bans = App(name="bans", help="What operators keep traffic from, and pairs that rest after failures.")


@bans.command(name="list")
def list_bans(*, remote: Remote = HERE) -> None:
    """List the bans.

    Examples: `orchestrator bans list`
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/bans")
    if remote.json:
        output.print_json(answer)
        return
    rows = [
        (
            one["serverId"] or "all nodes",
            one["model"] or "all models",
            one["type"],
            output.span(one["timeLeft"] / 1000) if one["timeLeft"] is not None else None,
            one["createdBy"],
            one["reason"],
        )
        for one in answer["bans"]
    ]
    output.print_table(("node", "model", "type", "ends in", "by", "reason"), rows, "There are no bans.")


@bans.command
def add(
    *,
    node: str = "",
    model: str = "",
    duration: Annotated[Seconds | None, Parameter(name="--for")] = None,
    reason: str = "",
    remote: Remote = HERE,
) -> None:
    """Keep traffic from a node, from a model, or from one model on one node.

    For example:

    - `orchestrator bans add --node gpu1 --model llama3 --reason "wrong answers"`
    - `orchestrator bans add --model llama3 --for 1h`

    Parameters
    ----------
    node
        The node; without it, every node.
    model
        The model; without it, every model.
    duration
        How long, such as 30s, 10m or 1h; without it, until it is removed.
    reason
        Shown wherever the ban is.
    """
    if not node and not model:
        raise WrongUsage("a ban names a --node, a --model, or both")
    body: dict[str, str | int] = {"serverId": node, "model": model, "reason": reason}
    if duration is not None:
        body["durationMs"] = round(duration * 1000)
    with Connection(remote) as connection:
        answer = connection.admin("POST", "/bans", body)
    place = f" on {node}" if node else " on every node"
    done(remote, answer, f"Banned {f'{model}{place}' if model else node}.")


@bans.command
def remove(
    *,
    node: str = "",
    model: str = "",
    all: Flag = False,
    yes: Yes = False,
    remote: Remote = HERE,
) -> None:
    """Lift bans, and end the rests of failing pairs.

    Examples: `orchestrator bans remove --node gpu1 --model llama3`, `orchestrator bans remove --all`

    Parameters
    ----------
    node
        Every ban that names this node; together with a model only theirs.
    model
        Every ban that names this model.
    all
        Every ban.
    yes
        Do not ask before lifting all.
    """
    if all == bool(node or model):
        raise WrongUsage("name a --node, a --model, or both; or --all")
    if all:
        confirm("Lift every ban?", yes)
        path = "/bans"
    elif node and model:
        path = f"/bans/{segment(node)}/{segment(model)}"
    else:
        path = f"/bans/server/{segment(node)}" if node else f"/bans/model/{segment(model)}"
    with Connection(remote) as connection:
        answer = connection.admin("DELETE", path)
    done(remote, answer, f"{answer['removed']} lifted.")
