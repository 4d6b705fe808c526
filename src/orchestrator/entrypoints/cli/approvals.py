"""`orchestrator approvals`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cyclopts import App

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Remote
from orchestrator.entrypoints.cli.schedules import moment
from orchestrator.entrypoints.cli.tool_arguments import arguments_of
from orchestrator.entrypoints.cli.tool_calls import Pairs, call_path, fields

approvals = App(name="approvals", help="Calls of tools that wait until a person agrees.")

APPROVALS = "/api/v1/approvals"
COLUMNS = ("id", "tool", "side effect", "principal", "created", "expires", "arguments")


@approvals.command(name="list")
def list_approvals(*, limit: int = 100, skip: int = 0, remote: Remote = HERE) -> None:
    """List calls that wait for approval, newest first.

    Examples: `orchestrator approvals list`, `orchestrator approvals list --json`

    Parameters
    ----------
    limit
        At most so many, 1 to 1,000.
    skip
        How many to leave out first.
    """
    with Connection(remote) as connection:
        answer = connection.get(APPROVALS, limit=limit, skip=skip)
    if remote.json:
        output.print_json({"approvals": answer["approvals"], "total": answer["total"]})
        return
    output.print_table(COLUMNS, [_row(one) for one in answer["approvals"]], "No call waits for approval.")


@approvals.command
def show(id: str, /, *, remote: Remote = HERE) -> None:
    """Show a call with its arguments, to decide about it.

    Examples: `orchestrator approvals show CALL_ID`

    Parameters
    ----------
    id
        Id of the call.
    """
    with Connection(remote) as connection:
        found = connection.get(call_path(id))["call"]
    if remote.json:
        output.print_json(found)
    else:
        output.print_fields(fields(found))


@approvals.command
def approve(
    id: str,
    /,
    *,
    reason: str = "",
    arg_json: Pairs = (),
    args_file: Path | None = None,
    remote: Remote = HERE,
) -> None:
    """Let a call begin.

    For example:

    - `orchestrator approvals approve CALL_ID --reason "asked for by the owner"`
    - `orchestrator approvals approve CALL_ID --args-file safer.json`

    Parameters
    ----------
    id
        Id of the call.
    reason
        Kept with the call.
    arg_json
        NAME=JSON: call the tool with these arguments instead, and no others; may be given several times.
    args_file
        The same as a file with an object (.json, .yaml), - for JSON on standard input.
    """
    body: dict[str, Any] = {"reason": reason}
    if arg_json or args_file is not None:
        body["arguments"] = arguments_of((), arg_json, args_file, None)
    _decide(id, "approve", body, f"Approved {id}.", remote)


@approvals.command
def reject(id: str, /, *, reason: str = "", remote: Remote = HERE) -> None:
    """Refuse a call.

    Examples: `orchestrator approvals reject CALL_ID --reason "not on a Friday"`

    Parameters
    ----------
    id
        Id of the call.
    reason
        Kept with the call, shown to its caller.
    """
    _decide(id, "reject", {"reason": reason}, f"Rejected {id}.", remote)


def _decide(id: str, what: str, body: dict[str, Any], text: str, remote: Remote) -> None:
    with Connection(remote) as connection:
        answer = connection.call("POST", f"{APPROVALS}/{segment(id)}/{what}", body)
    done(remote, answer["call"], text)


def _row(found: dict[str, Any]) -> tuple[Any, ...]:
    arguments = output.shown(found["arguments"])
    return (
        found["call_id"],
        found["tool"],
        found["side_effect"],
        found["principal"],
        moment(found["created_at"]),
        moment(found["expires_at"]),
        arguments if len(arguments) <= 120 else f"{arguments[:117]}...",
    )
