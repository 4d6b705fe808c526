"""`orchestrator tools call` and what follows it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import uuid4

from cyclopts import Parameter

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed, Refused
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Seconds
from orchestrator.entrypoints.cli.schedules import moment
from orchestrator.entrypoints.cli.tool_arguments import arguments_of

TOOLS, CALLS = "/api/v1/tools", "/api/v1/tool-calls"
OPEN = ("PENDING_APPROVAL", "RUNNING")
COLUMNS = ("id", "tool", "state", "side effect", "principal", "created", "took", "error")
SOONEST, LATEST = 0.05, 1.0  # seconds between looks where the service does not wait itself
NEWEST = 100  # calls among which one's own is looked for
LONGEST_LOOK = 5.0  # seconds that the service may take for one answer; less where --timeout is short
Pairs = Annotated[tuple[str, ...], Parameter(negative=())]


def call(
    name: str,
    /,
    *,
    arg: Pairs = (),
    arg_json: Pairs = (),
    args_file: Path | None = None,
    attempt_timeout: Seconds | None = None,
    key: str | None = None,
    wait: Flag = False,
    detach: Flag = False,
    output_form: Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])] = "text",
    remote: Remote = HERE,
) -> None:
    """Call a tool and print its result; exit status 1 unless the call succeeded.

    Values of `--arg` become what the tool's input schema asks for; give a list's items one by one or as JSON. A call
    that needs approval is left to `orchestrator approvals`, unless you wait for it. Ctrl-C cancels the call.

    For example:

    - `orchestrator tools call filesystem --arg action=read --arg path=notes.txt`
    - `orchestrator tools call weather --arg city=Bern --arg-json 'days=[1, 2]' --output json`
    - `orchestrator tools call report --args-file report.yaml --attempt-timeout 5m --wait`

    Parameters
    ----------
    name
        Id or name of the tool; SOURCE:NAME where several have the name.
    arg
        NAME=VALUE; may be given several times.
    arg_json
        NAME=JSON; may be given several times.
    args_file
        File with an object of arguments (.json, .yaml), - for JSON on standard input.
    attempt_timeout
        How long one attempt may take, in seconds or as in 10m; otherwise as the tool says.
    key
        Idempotency key: the same key again is the same call.
    wait
        Wait for approval, too.
    detach
        Do not wait for the end: print the id of the call.
    output_form
        text: the result; json: the whole call.
    """
    with Connection(remote) as connection:
        schema = connection.get(tool_path(name))["tool"]["input_schema"] if arg else None
        body: dict[str, Any] = {
            "arguments": arguments_of(arg, arg_json, args_file, schema),
            "idempotency_key": key or f"cli_{uuid4().hex}",
            "wait": 0.0 if detach else _look(remote),
        }
        if attempt_timeout is not None:
            body["timeout"] = attempt_timeout
        with _talk(name, remote), _cancelled_by_ctrl_c(connection, name, body["idempotency_key"]):
            found = _sent(connection, name, body)
            if not detach:
                found = _followed(connection, found, remote, wait)
    as_json = remote.json or output_form == "json"
    if detach and found["state"] in OPEN:
        if as_json:
            output.print_json(found)
        else:
            output.print_text(found["call_id"])
        return
    _tell(found, as_json, remote)


def calls(
    *,
    tool: str | None = None,
    state: str | None = None,
    task: str | None = None,
    principal: str | None = None,
    limit: int = 50,
    skip: int = 0,
    remote: Remote = HERE,
) -> None:
    """List calls of tools, newest first.

    Examples: `orchestrator tools calls`, `orchestrator tools calls --tool weather --state FAILED --json`

    Parameters
    ----------
    tool
        Of the tool with this id or name.
    state
        PENDING_APPROVAL, RUNNING, SUCCEEDED, FAILED, REJECTED, CANCELLED or EXPIRED.
    task
        Made by this task.
    principal
        Made by the principal with this id.
    limit
        At most so many, 1 to 1,000.
    skip
        How many to leave out first.
    """
    query = {"tool": tool, "state": state, "task_id": task, "principal_id": principal, "limit": limit, "skip": skip}
    with Connection(remote) as connection:
        answer = connection.get(CALLS, **query)
    if remote.json:
        output.print_json({"calls": answer["calls"], "total": answer["total"]})
        return
    output.print_table(COLUMNS, [row(one) for one in answer["calls"]], "There are no such calls.")
    shown = len(answer["calls"])
    if shown < answer["total"]:
        output.say(f"{shown:,} of {answer['total']:,}; --skip {skip + shown} shows more.", "dim")


def call_status(id: str, /, *, wait: Flag = False, remote: Remote = HERE) -> None:
    """Show a call of a tool with its arguments and result.

    Examples: `orchestrator tools call-status CALL_ID`, `orchestrator tools call-status CALL_ID --wait --json`

    Parameters
    ----------
    id
        Id of the call.
    wait
        Until it has ended.
    """
    with Connection(remote) as connection:
        found = connection.get(call_path(id))["call"]
        if wait:
            with _talk(found["tool"], remote):
                found = _followed(connection, found, remote, True)
    if remote.json:
        output.print_json(found)
    else:
        output.print_fields(fields(found))


def cancel(id: str, /, *, remote: Remote = HERE) -> None:
    """End a call that runs or waits for approval. What it did until then is not undone.

    Examples: `orchestrator tools cancel CALL_ID`

    Parameters
    ----------
    id
        Id of the call.
    """
    with Connection(remote) as connection:
        answer = connection.call("POST", f"{call_path(id)}/cancel")
    done(remote, answer["call"], f"Cancelled {id}.")


def tool_path(name: str) -> str:
    return f"{TOOLS}/{segment(name)}"


def call_path(id: str) -> str:
    return f"{CALLS}/{segment(id)}"


def row(found: dict[str, Any]) -> tuple[Any, ...]:
    error = found["error"]
    return (
        found["call_id"],
        found["tool"],
        found["state"],
        found["side_effect"],
        found["principal"],
        moment(found["created_at"]),
        took(found),
        f"{error['code']}: {error['message']}"[:120] if error else None,
    )


def fields(found: dict[str, Any]) -> dict[str, Any]:
    """A call, one line for each of its fields."""
    error, decision = found["error"], found["decision"]
    times = {name: moment(found[f"{name}_at"]) for name in ("created", "started", "ended", "expires")}
    return {
        "id": found["call_id"],
        "tool": found["tool"],
        "state": found["state"],
        "error": f"{error['code']}: {error['message']}" if error else None,
        "side effect": found["side_effect"],
        "principal": found["principal"],
        **times,
        "took": took(found),
        "attempts": found["attempts"],
        "cost": found["cost"],
        "decision": f"{'approved' if decision['approved'] else 'rejected'} by {decision['by']}: {decision['reason']}"
        if decision
        else None,
        "task": found["task_id"],
        "artifacts": found["artifacts"],
        "arguments": json.dumps(found["arguments"], ensure_ascii=False),
        "result": json.dumps(found["result"], ensure_ascii=False),
    }


def took(found: dict[str, Any]) -> str | None:
    if found["started_at"] is None or found["ended_at"] is None:
        return None
    return output.span(max(0.0, found["ended_at"] - found["started_at"]))


def _look(remote: Remote) -> float:
    return min(LONGEST_LOOK, remote.timeout / 2)


def _sent(connection: Connection, name: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = connection.call("POST", f"{tool_path(name)}/call", body)["data"]
    except Refused as error:
        problems = error.details.get("problems")
        if isinstance(problems, list):
            lines = [f"  {one.get('path') or '/'}: {one['message']}" for one in problems]
            error.message = "\n".join(["The arguments do not fit:", *map(output.printable, lines)])
        raise
    return found


def _followed(connection: Connection, found: dict[str, Any], remote: Remote, approval: bool) -> dict[str, Any]:
    """The call when it has ended; with `approval` also one that first waits for it."""
    told, pause = False, SOONEST
    while found["state"] in (OPEN if approval else OPEN[1:]):
        if found["state"] == OPEN[0] and not told:
            output.say(f"Waits for approval: orchestrator approvals approve {found['call_id']}", "yellow")
            told = True
        asked = time.monotonic()
        found = connection.get(call_path(found["call_id"]), wait=_look(remote))["call"]
        if found["state"] in OPEN and time.monotonic() - asked < pause:
            time.sleep(pause)
            pause = min(LATEST, pause * 1.3)
    return found


@contextmanager
def _cancelled_by_ctrl_c(connection: Connection, name: str, key: str) -> Iterator[None]:
    """The call is found by its key: its id may not have come yet."""
    try:
        yield
    except KeyboardInterrupt:
        for one in connection.get(CALLS, tool=name, limit=NEWEST)["calls"]:
            if one["idempotency_key"] == key and one["state"] in OPEN:
                connection.call("POST", f"{call_path(one['call_id'])}/cancel")
                output.say(f"Cancelled {one['call_id']}.")
        raise


@contextmanager
def _talk(name: str, remote: Remote) -> Iterator[None]:
    """Something that moves, on standard error where a person looks on."""
    if remote.json or not sys.stderr.isatty():
        yield
        return
    with output.err().status(f"{output.printable(name)} ..."):
        yield


def _tell(found: dict[str, Any], as_json: bool, remote: Remote) -> None:
    """Raises CommandFailed unless it succeeded."""
    if found["success"]:
        if as_json:
            output.print_json(found)
        elif found["result"] is not None:
            result = found["result"]
            output.print_text(result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False))
        if not as_json and found["artifacts"]:
            output.say(f"artifacts: {', '.join(found['artifacts'])}", "dim")
        return
    error, hint = found["error"], ""
    text = error["message"] if error else f"The call is {found['state']}."
    if found["state"] == OPEN[0]:
        text = f"Call {found['call_id']} waits for approval."
        hint = f"`orchestrator approvals approve {found['call_id']}`, then `orchestrator tools call-status`; or --wait."
    if as_json and not remote.json:  # with --json the error is the one document
        output.print_json(found)
    code = error["code"] if error else found["state"].lower()
    raise CommandFailed(text, hint=hint, details={**found, "code": code, "message": text})
