"""`orchestrator models pull`, `copy`, `create`, `delete` and `models jobs`: models on the disks of the fleet."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.model_watch import follow, told
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Yes

jobs = App(name="jobs", help="Pulls, copies and creations of models: under way, ended and failed ones.")

Nodes = Annotated[tuple[str, ...], Parameter(negative=())]
State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Kind = Literal["pull", "copy", "create"]


def register(models: App) -> None:
    """Adds the commands to the group `models`."""
    for command in (pull, copy, create, delete):
        models.command(command)
    models.command(jobs)


def pull(
    model: str,
    /,
    *,
    on: Nodes = (),
    count: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1000))] = None,
    insecure: Flag = False,
    detach: Flag = False,
    remote: Remote = HERE,
) -> None:
    """Bring a model to nodes' disks: to those that are named, otherwise to the one that has most room.

    It goes on when this command ends, and after a restart of the service.

    For example:

    - `orchestrator models pull llama3`
    - `orchestrator models pull llama3 --on gpu1 --on gpu2`
    - `orchestrator models pull llama3 --count 3 --detach`

    Parameters
    ----------
    model
        Name in Ollama's registry, or of Hugging Face as hf.co/NAMESPACE/NAME.
    on
        Node to bring it to; may be given several times.
    count
        On how many nodes more it is to be; with --on, of those that are named.
    insecure
        Allow a registry without TLS.
    detach
        Do not wait for the end.
    """
    body: dict[str, Any] = {"model": model, "insecure": insecure, "wait": False}
    with Connection(remote) as connection:
        if on and count is None:
            begun = [
                job
                for node in dict.fromkeys(on)
                for job in connection.admin("POST", f"/servers/{segment(node)}/models/pull", body)["jobs"]
            ]
        else:
            begun = connection.admin("POST", "/models/pull", {**body, "servers": list(on), "count": count or 1})["jobs"]
        _watched(connection, remote, begun, detach)


def copy(
    model: str,
    /,
    *,
    source: Annotated[str, Parameter(name="--from")],
    to: str,
    detach: Flag = False,
    remote: Remote = HERE,
) -> None:
    """Bring a model that one node has to another, which pulls it from the registry.

    Examples: `orchestrator models copy llama3 --from gpu1 --to gpu2`

    Parameters
    ----------
    model
        The model.
    source
        Node that has it.
    to
        Node that is to have it.
    detach
        Do not wait for the end.
    """
    body = {"model": model, "sourceServerId": source, "wait": False}
    with Connection(remote) as connection:
        begun = connection.admin("POST", f"/servers/{segment(to)}/models/copy", body)["jobs"]
        _watched(connection, remote, begun, detach)


def create(
    model: str,
    /,
    *,
    on: str,
    base: Annotated[str, Parameter(name="--from")],
    system: str = "",
    detach: Flag = False,
    remote: Remote = HERE,
) -> None:
    """Create a model on a node, from one that the node has.

    Examples: `orchestrator models create brief --on gpu1 --from llama3 --system "Answer in one sentence."`

    Parameters
    ----------
    model
        Name of the new model.
    on
        Node to create it on.
    base
        Model that it is made from.
    system
        System prompt of the new model.
    detach
        Do not wait for the end.
    """
    body = {"model": model, "from": base, "wait": False} | ({"system": system} if system else {})
    with Connection(remote) as connection:
        begun = connection.admin("POST", f"/servers/{segment(on)}/models/create", body)["jobs"]
        _watched(connection, remote, begun, detach)


def delete(model: str, /, *, on: str, yes: Yes = False, remote: Remote = HERE) -> None:
    """Delete a model from a node's disk.

    Examples: `orchestrator models delete llama3 --on gpu1`, `orchestrator models delete llama3 --on gpu1 --yes`

    Parameters
    ----------
    model
        The model.
    on
        Node to delete it from.
    yes
        Do not ask.
    """
    confirm(f"Delete {model} from the disk of {on}?", yes)
    with Connection(remote) as connection:
        answer = connection.admin("DELETE", f"/servers/{segment(on)}/models/{segment(model)}")
    done(remote, answer, f"Deleted {answer['model']} from {on}.")


@jobs.command(name="list")
def list_jobs(
    *,
    state: Annotated[tuple[State, ...], Parameter(negative=())] = (),
    kind: Kind | None = None,
    on: str | None = None,
    model: str | None = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 50,
    remote: Remote = HERE,
) -> None:
    """List jobs, the newest first.

    Examples: `orchestrator models jobs list`, `orchestrator models jobs list --state failed --on gpu1`

    Parameters
    ----------
    state
        Only jobs in this state; may be given several times.
    kind
        Only jobs of this kind.
    on
        Only jobs on this node.
    model
        Only jobs for this model.
    limit
        How many at most.
    """
    query = {"status": ",".join(state) or None, "kind": kind, "server": on, "model": model}
    with Connection(remote) as connection:
        found = connection.admin("GET", "/models/jobs", limit=limit, **query)
    told(remote, found["jobs"], "There are no such jobs.")


@jobs.command
def show(job: str, /, *, remote: Remote = HERE) -> None:
    """Show one job.

    Examples: `orchestrator models jobs show 3f1c9a2b7d04`

    Parameters
    ----------
    job
        Id of the job.
    """
    with Connection(remote) as connection:
        told(remote, [connection.admin("GET", f"/models/jobs/{segment(job)}")["job"]])


@jobs.command
def watch(job: str, /, *, remote: Remote = HERE) -> None:
    """Watch a job until it has ended. Ctrl-C ends the watching only.

    Examples: `orchestrator models jobs watch 3f1c9a2b7d04`

    Parameters
    ----------
    job
        Id of the job.
    """
    with Connection(remote) as connection:
        follow(connection, remote, [connection.admin("GET", f"/models/jobs/{segment(job)}")["job"]])


@jobs.command
def cancel(job: str, /, *, remote: Remote = HERE) -> None:
    """End a job. What the node has of the model so far stays on its disk.

    Examples: `orchestrator models jobs cancel 3f1c9a2b7d04`

    Parameters
    ----------
    job
        Id of the job.
    """
    with Connection(remote) as connection:
        answer = connection.admin("POST", f"/models/jobs/{segment(job)}/cancel")
    done(remote, answer, f"Job {job} is cancelled.")


@jobs.command
def retry(job: str, /, *, detach: Flag = False, remote: Remote = HERE) -> None:
    """Begin again what an ended job should have done, as a new job.

    Examples: `orchestrator models jobs retry 3f1c9a2b7d04`

    Parameters
    ----------
    job
        Id of the job.
    detach
        Do not wait for the end.
    """
    with Connection(remote) as connection:
        begun = [connection.admin("POST", f"/models/jobs/{segment(job)}/retry")["job"]]
        _watched(connection, remote, begun, detach)


def _watched(connection: Connection, remote: Remote, begun: list[dict[str, Any]], detach: bool) -> None:
    if detach:
        told(remote, begun)
    else:
        follow(connection, remote, begun)
