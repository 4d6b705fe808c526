"""`orchestrator models`."""

from __future__ import annotations

from difflib import get_close_matches

from cyclopts import App

from orchestrator.domain.model_name import key_of
from orchestrator.entrypoints.cli import model_jobs, output, residency
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Remote

models = App(name="models", help="Models of the fleet, and other names for them.")
aliases = App(name="aliases", help="Other names of models.")
models.command(aliases)
residency.register(models)
model_jobs.register(models)


@models.command(name="list")
def list_models(*, remote: Remote = HERE) -> None:
    """List the models that healthy nodes have.

    Examples: `orchestrator models list`
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/models")
    if remote.json:
        output.print_json(answer)
        return
    rows = [
        (one["name"], one["servers"], one["loadedOn"], output.size(one["size"]), one["capabilities"])
        for one in answer["details"]
    ]
    empty = "No healthy node has a model. `orchestrator nodes list` tells how the nodes are."
    output.print_table(("model", "nodes", "in memory", "size", "capabilities"), rows, empty)


@models.command
def get(model: str, /, *, remote: Remote = HERE) -> None:
    """Show where a model is.

    Examples: `orchestrator models get llama3`

    Parameters
    ----------
    model
        Model or alias.
    """
    with Connection(remote) as connection:
        details = connection.admin("GET", "/models")["details"]
        named = connection.admin("GET", "/aliases")["aliases"]
    targets = [name for alias in named if alias["name"] == model for name in alias["models"]] or [model]
    wanted = {key_of(name) for name in targets}
    found = [one for one in details if key_of(one["name"]) in wanted]
    if not found:
        near = get_close_matches(model, [one["name"] for one in details], n=3)
        hint = (
            f"Did you mean {' or '.join(near)}?" if near else "`orchestrator models list` shows those that there are."
        )
        raise CommandFailed(f"No healthy node has the model '{model}'.", hint=hint)
    pointing = [alias["name"] for alias in named if any(one["name"] in alias["models"] for one in found)]
    if remote.json:
        output.print_json({"model": model, "aliases": pointing, "details": found})
        return
    for one in found:
        output.print_fields(
            {
                "model": one["name"],
                "nodes": one["servers"],
                "in memory": one["loadedOn"],
                "size": output.size(one["size"]),
                "capabilities": one["capabilities"],
                "aliases": pointing,
            }
        )


@aliases.command(name="list")
def list_aliases(*, remote: Remote = HERE) -> None:
    """List the aliases.

    Examples: `orchestrator models aliases list`
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/aliases")
    if remote.json:
        output.print_json(answer)
        return
    rows = [(one["name"], one["targets"], one["models"], one["source"]) for one in answer["aliases"]]
    output.print_table(("alias", "targets", "leads to", "set by"), rows, "There are no aliases.")


@aliases.command(name="set")
def set_alias(alias: str, target: str, /, *others: str, remote: Remote = HERE) -> None:
    """Add or replace an alias.

    For example:

    - `orchestrator models aliases set fast llama3:8b`
    - `orchestrator models aliases set best llama3:70b llama3:8b`

    Parameters
    ----------
    alias
        The new name.
    target
        The model that it stands for. `a|b` declares two names to be one model.
    others
        Models to fall back to, best first.
    """
    with Connection(remote) as connection:
        answer = connection.admin("PUT", f"/aliases/{segment(alias)}", {"targets": [target, *others]})
    leads = answer["alias"]["models"]
    done(remote, answer, f"{alias} leads to {', '.join(leads) if leads else 'no model of the fleet now'}.")


@aliases.command(name="remove")
def remove_alias(alias: str, /, *, remote: Remote = HERE) -> None:
    """Remove an alias; the models stay.

    Examples: `orchestrator models aliases remove fast`

    Parameters
    ----------
    alias
        The alias.
    """
    with Connection(remote) as connection:
        answer = connection.admin("DELETE", f"/aliases/{segment(alias)}")
    done(remote, answer, f"Removed {alias}.")
