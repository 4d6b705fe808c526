"""`orchestrator nodes`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from orchestrator.domain.node import NodeKind
from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import FAILED, WrongUsage
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Yes

nodes = App(name="nodes", help="Model servers: list, add, change, drain and remove them.")

Kind = Literal["ollama", "openai", "anthropic"]
Labels = Annotated[list[str] | None, Parameter(name="--label", negative=())]
Models = Annotated[list[str] | None, Parameter(name="--model", negative=())]
COLUMNS = ("id", "kind", "state", "in flight", "models", "latency ms", "url", "note")


@nodes.command(name="list")
def list_nodes(*, remote: Remote = HERE) -> None:
    """List the nodes with their state.

    Examples: `orchestrator nodes list`, `orchestrator nodes list --json`
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/servers")
    if remote.json:
        output.print_json(answer)
        return
    empty = "There are no nodes. Add one with `orchestrator nodes add ID URL`."
    output.print_table(COLUMNS, [row(server) for server in answer["servers"]], empty)


@nodes.command
def add(
    id: str,
    url: str,
    /,
    *,
    kind: Kind | None = None,
    max_concurrency: int | None = None,
    weight: float | None = None,
    label: Labels = None,
    model: Models = None,
    api_key_env: str | None = None,
    remote: Remote = HERE,
) -> None:
    """Register a model server. It is looked at once, and outlives a restart of the service.

    For example:

    - `orchestrator nodes add gpu1 http://10.0.0.5:11434`
    - `orchestrator nodes add vllm http://10.0.0.6:8000 --kind openai --max-concurrency 32 --label zone=a`
    - `orchestrator nodes add hosted https://api.openai.com/v1 --kind openai --api-key-env OPENAI_API_KEY`

    Parameters
    ----------
    id
        Name of the node: letters, digits, '.', '_' and '-'.
    url
        http or https URL of the server.
    kind
        What software answers there; without it, the server is asked.
    max_concurrency
        Requests at a time.
    weight
        Share of traffic under the weighted policies.
    label
        Free label as NAME=VALUE. Can be given several times.
    model
        Model that the server has, for one that has no list of its own. Can be given several times.
    api_key_env
        Environment variable of the *service* that holds the server's API key.
    """
    body = spec(kind, max_concurrency, weight, label, model, api_key_env)
    with Connection(remote) as connection:
        answer = connection.admin("POST", "/servers/add", {"id": id, "url": url, **body})
    done(remote, answer, f"Added {id} ({answer.get('kind', '?')}) at {answer.get('url', url)}.")


@nodes.command
def get(id: str, /, *, remote: Remote = HERE) -> None:
    """Show everything about one node.

    Examples: `orchestrator nodes get gpu1`

    Parameters
    ----------
    id
        Name of the node.
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", f"/servers/{segment(id)}")
    if remote.json:
        output.print_json(answer)
    else:
        output.print_fields(fields(answer["server"]))


@nodes.command(name="set")
def change(
    id: str,
    /,
    *,
    node_url: str | None = None,
    kind: Kind | None = None,
    max_concurrency: int | None = None,
    weight: float | None = None,
    label: Labels = None,
    model: Models = None,
    api_key_env: str | None = None,
    remote: Remote = HERE,
) -> None:
    """Change a node's registration. What is not named stays.

    Examples: `orchestrator nodes set gpu1 --max-concurrency 8`, `orchestrator nodes set gpu1 --label zone=b`

    Parameters
    ----------
    id
        Name of the node.
    node_url
        New URL of the server. (`--url` is the service's.)
    kind
        What software answers there.
    max_concurrency
        Requests at a time.
    weight
        Share of traffic under the weighted policies.
    label
        Label as NAME=VALUE; those given replace all labels. Can be given several times.
    model
        Model that the server has; those given replace all. Can be given several times.
    api_key_env
        Environment variable of the *service* that holds the server's API key.
    """
    body = spec(kind, max_concurrency, weight, label, model, api_key_env)
    if node_url is not None:
        body["url"] = node_url
    if not body:
        raise WrongUsage("There is nothing to change: name at least one option, such as --max-concurrency 8.")
    with Connection(remote) as connection:
        answer = connection.admin("PATCH", f"/servers/{segment(id)}", body)
    done(remote, answer, f"Changed {id}.")


@nodes.command
def remove(id: str, /, *, yes: Yes = False, remote: Remote = HERE) -> None:
    """Remove a node for good; requests that it serves now may finish.

    Examples: `orchestrator nodes remove gpu1`, `orchestrator nodes remove gpu1 --yes`

    Parameters
    ----------
    id
        Name of the node.
    yes
        Do not ask.
    """
    confirm(f"Remove the node {id} and its breakers?", yes)
    with Connection(remote) as connection:
        answer = connection.admin("DELETE", f"/servers/{segment(id)}")
    done(remote, answer, f"Removed {id}.")


@nodes.command
def drain(id: str, /, *, reason: str = "", remote: Remote = HERE) -> None:
    """Give a node no new requests; those under way finish.

    Examples: `orchestrator nodes drain gpu1 --reason "driver update"`

    Parameters
    ----------
    id
        Name of the node.
    reason
        Shown wherever the node is.
    """
    with Connection(remote) as connection:
        answer = connection.admin("POST", f"/servers/{segment(id)}/drain", {"reason": reason})
    done(remote, answer, f"{id} is draining; {answer.get('inFlightRequests', 0)} requests are under way.")


@nodes.command
def undrain(id: str, /, *, remote: Remote = HERE) -> None:
    """Take a drained node, or one in maintenance, back.

    Examples: `orchestrator nodes undrain gpu1`

    Parameters
    ----------
    id
        Name of the node.
    """
    with Connection(remote) as connection:
        answer = connection.admin("POST", f"/servers/{segment(id)}/undrain")
    done(remote, answer, f"{id} takes requests again.")


@nodes.command
def maintenance(id: str, /, *, reason: str = "", off: Flag = False, remote: Remote = HERE) -> None:
    """Take a node out for maintenance, or back with --off.

    Examples: `orchestrator nodes maintenance gpu1 --reason "new fan"`, `orchestrator nodes maintenance gpu1 --off`

    Parameters
    ----------
    id
        Name of the node.
    reason
        Shown wherever the node is.
    off
        End the maintenance.
    """
    with Connection(remote) as connection:
        body = {"enabled": not off, "reason": reason}
        answer = connection.admin("POST", f"/servers/{segment(id)}/maintenance", body)
    done(remote, answer, f"{id} is {'back from' if off else 'in'} maintenance.")


@nodes.command
def probe(id: str | None = None, /, *, remote: Remote = HERE) -> int | None:
    """Look at the nodes now, without loading a model. Exit status 1 when one is not healthy.

    Examples: `orchestrator nodes probe`, `orchestrator nodes probe gpu1`

    Parameters
    ----------
    id
        Show only this node.
    """
    with Connection(remote) as connection:
        if id is not None:
            connection.admin("GET", f"/servers/{segment(id)}")  # so that an unknown name is an error
        answer = connection.admin("POST", "/health-check")
    found = [one for one in answer["servers"] if id is None or one["id"] == id]
    if remote.json:
        output.print_json({**answer, "servers": found})
    else:
        columns = ("id", "state", "latency ms", "models", "note")
        rows = [
            (one["id"], health(one), one["lastResponseTime"], one["models"], one.get("error") or "") for one in found
        ]
        output.print_table(columns, rows, "There are no nodes.")
    return None if all(one["healthy"] for one in found) else FAILED


def spec(
    kind: str | None,
    max_concurrency: int | None,
    weight: float | None,
    labels: list[str] | None,
    models: list[str] | None,
    api_key_env: str | None,
) -> dict[str, Any]:
    """The fields that were given, as the service reads them."""
    given: dict[str, Any] = {
        "kind": kind,
        "maxConcurrency": max_concurrency,
        "weight": weight,
        "labels": pairs(labels),
        "models": models,
        "apiKey": f"env:{api_key_env}" if api_key_env is not None else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def pairs(labels: list[str] | None) -> dict[str, str] | None:
    if labels is None:
        return None
    found: dict[str, str] = {}
    for label in labels:
        name, mark, value = label.partition("=")
        if not mark or not name:
            raise WrongUsage(f"--label: '{label}' is not NAME=VALUE")
        found[name] = value
    return found


def done(remote: Remote, answer: dict[str, Any], text: str) -> None:
    """What a command that changes something reports."""
    if remote.json:
        output.print_json(answer)
    else:
        output.say(text)


def health(server: dict[str, Any]) -> str:
    if server.get("maintenance"):
        return "maintenance"
    if server.get("draining"):
        return "draining"
    return "healthy" if server["healthy"] else "unhealthy"


def row(server: dict[str, Any]) -> tuple[Any, ...]:
    demo = "demo: canned text" if server["kind"] == NodeKind.DEMO else ""
    return (
        server["id"],
        server["kind"],
        health(server),
        f"{server['inFlight']}/{server['maxConcurrency']}",
        len(server["models"]),
        server["lastResponseTime"],
        server["url"],
        server.get("reason") or server.get("error") or demo,
    )


def fields(server: dict[str, Any]) -> dict[str, Any]:
    """A node's fields as a person reads them."""
    loaded = server.get("loaded")
    return {
        "id": server["id"],
        "url": server["url"],
        "kind": server["kind"],
        "state": health(server),
        "reason": server.get("reason") or None,
        "error": server.get("error"),
        "in flight": f"{server['inFlight']} of {server['maxConcurrency']}",
        "latency ms": server["lastResponseTime"],
        "version": server.get("version") or None,
        "weight": server["weight"],
        "labels": server["labels"],
        "source": server["source"],
        "models": server["models"],
        "loaded": None if loaded is None else [one["name"] for one in loaded],
        "key": "set" if "apiKey" in server else None,
    }
