"""`orchestrator artifacts`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from cyclopts import App, Parameter

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed, WrongUsage
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Seconds, Yes
from orchestrator.entrypoints.cli.schedules import moment
from orchestrator.entrypoints.cli.transfer import ARTIFACTS, send_file

artifacts = App(name="artifacts", help="Bytes that work leaves behind: results, files, pointers to elsewhere.")

COLUMNS = ("id", "name", "type", "bytes", "state", "task", "created")
READ_TIMEOUT = 120.0  # seconds between two pieces


@artifacts.command(name="list")
def list_artifacts(
    *,
    task: str = "",
    run: str = "",
    tool: str = "",
    name: str = "",
    sha256: str = "",
    state: str | None = None,
    query: str = "",
    limit: int = 100,
    remote: Remote = HERE,
) -> None:
    """List artifacts, the newest first; with `--query` those that fit it best.

    Examples: `orchestrator artifacts list`, `orchestrator artifacts list --task task_1 --json`

    Parameters
    ----------
    task
        Made by this task.
    run
        Made by this run of a pipeline.
    tool
        Made by the tool with this id.
    name
        With this file name.
    sha256
        With these bytes.
    state
        stored, external, damaged or missing.
    query
        Words in name, type or origin.
    limit
        At most so many, 1 to 1,000.
    """
    wanted = {"task_id": task, "run_id": run, "tool_id": tool, "file_name": name, "sha256": sha256, "q": query}
    with Connection(remote) as connection:
        asked = {field: text or None for field, text in wanted.items()}
        found = connection.get(ARTIFACTS, **asked, state=state, limit=limit)["artifacts"]
    if remote.json:
        output.print_json(found)
    else:
        output.print_table(COLUMNS, [row(one) for one in found], "There are no artifacts.")


@artifacts.command
def show(id: str, /, *, lineage: Flag = False, remote: Remote = HERE) -> None:
    """Show what is known of one artifact.

    Examples: `orchestrator artifacts show ID`, `orchestrator artifacts show ID --lineage --json`

    Parameters
    ----------
    id
        Id of the artifact.
    lineage
        Show what it was made of and what was made of it, too.
    """
    with Connection(remote) as connection:
        answer = connection.get(f"{path(id)}/lineage" if lineage else path(id))
    artifact = answer["artifact"]
    if remote.json:
        output.print_json(answer["data"] if lineage else artifact)
        return
    times = {field: moment(artifact[field]) for field in ("created_at", "expires_at", "verified_at")}
    shown = artifact | times
    if lineage:
        shown |= {"made of": [one["artifact_id"] for one in answer["inputs"]], "gone": answer["gone"]}
        shown |= {"became": [one["artifact_id"] for one in answer["outputs"]]}
    output.print_fields({field.replace("_", " "): value for field, value in shown.items()})


@artifacts.command
def get(
    id: str,
    /,
    *,
    file: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    force: Flag = False,
    remote: Remote = HERE,
) -> None:
    """Fetch the bytes of an artifact.

    For example:

    - `orchestrator artifacts get ID` writes to standard output
    - `orchestrator artifacts get ID --output report.pdf`

    Parameters
    ----------
    id
        Id of the artifact.
    file
        Where to write them.
    force
        Replace a file that is there.
    """
    if file is not None and file.exists() and not force:
        raise WrongUsage(f"{file} is there already: --force replaces it.")
    with (
        Connection(remote) as connection,
        connection.stream(f"{path(id)}/content", None, READ_TIMEOUT, method="GET") as answer,
    ):
        if file is None:
            written = copy(answer.iter_bytes(1 << 20), sys.stdout.buffer)
        else:
            draft = file.with_name(f"{file.name}.part")
            try:
                with draft.open("wb") as sink:
                    written = copy(answer.iter_bytes(1 << 20), sink)
                draft.replace(file)
            except OSError as error:
                raise WrongUsage(f"{file} cannot be written: {error.strerror}") from None
            finally:
                draft.unlink(missing_ok=True)
    if file is not None:
        done(remote, {"artifact_id": id, "file": str(file), "size_bytes": written}, f"{written:,} bytes in {file}.")


@artifacts.command
def put(
    file: Path,
    /,
    *,
    name: str = "",
    mime_type: Annotated[str, Parameter(name="--type")] = "",
    task: str = "",
    run: str = "",
    agent: str = "",
    tool: str = "",
    inputs: Annotated[list[str] | None, Parameter(name="--input", negative=())] = None,
    keep: Seconds | None = None,
    remote: Remote = HERE,
) -> None:
    """Upload a file; the artifact's id is printed.

    A large file goes in pieces, and goes on where it was when the connection breaks.

    For example:

    - `orchestrator artifacts put report.pdf`
    - `orchestrator artifacts put model.bin --type application/octet-stream --task task_1 --keep 30d`

    Parameters
    ----------
    file
        The file.
    name
        Its name as it is kept; otherwise the file's own.
    mime_type
        Its type; otherwise by the name's ending.
    task
        The task that made it.
    run
        The run of a pipeline that made it.
    agent
        The agent that made it.
    tool
        Id of the tool that made it.
    inputs
        Artifact that it was made of; may be repeated.
    keep
        How long to keep it, in seconds or as in 30d; otherwise as the service is set.
    """
    said = {"task_id": task, "run_id": run, "agent_id": agent, "created_by_tool_id": tool}
    given: dict[str, Any] = {field: text for field, text in said.items() if text}
    if inputs:
        given["inputs"] = ",".join(inputs)
    if keep is not None:
        given["expires_in"] = keep
    with Connection(remote) as connection:
        artifact = send_file(connection, file, name, mime_type, given)
    if remote.json:
        output.print_json(artifact)
    else:
        output.print_text(artifact["artifact_id"])


@artifacts.command
def delete(id: str, /, *, yes: Yes = False, remote: Remote = HERE) -> None:
    """Delete an artifact and its bytes; what a pointer points to is not touched.

    Examples: `orchestrator artifacts delete ID --yes`

    Parameters
    ----------
    id
        Id of the artifact.
    yes
        Do not ask.
    """
    confirm(f"Delete the artifact {id}?", yes)
    with Connection(remote) as connection:
        answer = connection.call("DELETE", path(id))
    done(remote, answer, f"Deleted {id}.")


@artifacts.command
def verify(id: str = "", /, *, all: Flag = False, remote: Remote = HERE) -> None:
    """Compare bytes with their digest. Exit status 1 when they are damaged or missing.

    Examples: `orchestrator artifacts verify ID`, `orchestrator artifacts verify --all`

    Parameters
    ----------
    id
        Id of the artifact.
    all
        All of them; this also removes what is expired or left over.
    """
    if bool(id) == all:
        raise WrongUsage("Give the id of an artifact, or --all.")
    with Connection(remote) as connection:
        if all:
            answer = connection.call("POST", f"{ARTIFACTS}/sweep", query={"verify_all": "true"})
            damaged, told = answer["damaged"], f"Looked at {answer['verified']:,} artifacts."
        else:
            answer = connection.call("POST", f"{path(id)}/verify")
            damaged, told = [id] if answer["state"] != "stored" else [], f"{id} is what came."
    if damaged:
        raise CommandFailed(f"Damaged or missing: {', '.join(damaged)}", details={"damaged": damaged})
    done(remote, answer, told)


def path(id: str) -> str:
    return f"{ARTIFACTS}/{segment(id)}"


def copy(pieces: Iterator[bytes], sink: BinaryIO) -> int:
    """How many bytes."""
    written = 0
    for piece in pieces:
        sink.write(piece)
        written += len(piece)
    sink.flush()
    return written


def row(artifact: dict[str, Any]) -> tuple[Any, ...]:
    return (
        artifact["artifact_id"],
        artifact["file_name"],
        artifact["mime_type"],
        artifact["size_bytes"],
        artifact["state"],
        artifact["task_id"],
        moment(artifact["created_at"]),
    )
