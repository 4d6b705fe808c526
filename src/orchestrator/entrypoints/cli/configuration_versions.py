"""`orchestrator config history|rollback|reload|save`: the settings of a running service, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.configuration import compact, config
from orchestrator.entrypoints.cli.connection import Connection
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote

__all__ = ["config"]

NamedFile = Annotated[str | None, Parameter(name="--file")]


@config.command
def history(*, limit: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 20, remote: Remote = HERE) -> None:
    """Show who changed which settings of the running service, and when, newest first.

    Examples: `orchestrator config history`, `orchestrator config history --limit 5 --json`

    Parameters
    ----------
    limit
        How many versions.
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/config/history", limit=limit)
    if remote.json:
        output.print_json(answer)
        return
    rows = [
        (one["version"], output.moment(one["when"]), one["who"], "; ".join(map(difference, one["changed"] or ())))
        for one in answer["history"]
    ]
    output.print_table(("version", "when", "who", "changed"), rows, "Nothing was changed yet.")


@config.command
def rollback(version: int, /, *, remote: Remote = HERE) -> None:
    """Put an earlier version of the live settings in force again.

    Examples: `orchestrator config rollback 3`

    Parameters
    ----------
    version
        Its number, from `orchestrator config history`.
    """
    with Connection(remote) as connection:
        answer = connection.admin("POST", "/config/rollback", {"version": version})
    told(remote, answer)


@config.command
def reload(*, file: NamedFile = None, discard: Flag = False, remote: Remote = HERE) -> None:
    """Let the running service read its configuration file again.

    Examples: `orchestrator config reload`, `orchestrator config reload --discard`

    Parameters
    ----------
    file
        Another file, in the folder `config` of the service's data directory.
    discard
        Drop the changes made while the service ran, instead of keeping them above the file.
    """
    body = {"configPath": file, "discardChanges": discard}
    with Connection(remote) as connection:
        answer = connection.admin("POST", "/config/reload", body)
    told(remote, answer)
    if not remote.json:
        for path in answer["overridden"]:
            output.warn(f"{path}: a change made while the service ran still wins over the file (see --discard)")
        for path in answer["restartRequired"]:
            output.warn(f"{path}: needs a restart")


@config.command
def save(*, file: NamedFile = None, remote: Remote = HERE) -> None:
    """Write the changes made while the service ran into its configuration file.

    The old file is kept with the ending .bak; comments are lost.

    Examples: `orchestrator config save`, `orchestrator config save --file copy.yaml`

    Parameters
    ----------
    file
        Another file, in the folder `config` of the service's data directory.
    """
    with Connection(remote) as connection:
        answer = connection.admin("POST", "/config/save", {"configPath": file})
    if remote.json:
        output.print_json(answer)
    else:
        output.say(f"Written to {Path(answer['path'])}.")


def told(remote: Remote, answer: dict[str, Any]) -> None:
    """What became different."""
    if remote.json:
        output.print_json(answer)
        return
    for one in answer["changed"]:
        output.say(difference(one))
    if not answer["changed"]:
        output.say("Nothing is different: it was so already.")


def difference(one: dict[str, Any]) -> str:
    return f"{one['path']}: {compact(one['old'])} -> {compact(one['new'])}"
