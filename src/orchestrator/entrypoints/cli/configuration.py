"""`orchestrator config`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import App, Parameter

from orchestrator.entrypoints.cli import json_text, output
from orchestrator.entrypoints.cli.connection import Connection
from orchestrator.entrypoints.cli.failure import WrongUsage
from orchestrator.entrypoints.cli.options import HERE, PLAIN, Flag, Format, Remote
from orchestrator.entrypoints.cli.warnings import operator_warnings
from orchestrator.settings import Origin, check_exposure, dump, keys, load, schema

config = App(name="config", help="Settings: what they are, where they come from, and changing them live.")


@config.command
def show(
    section: str | None = None,
    /,
    *,
    origin: Flag = False,
    live: Flag = False,
    file: Annotated[Path | None, Parameter(name=["--config", "--file"])] = None,
    remote: Remote = HERE,
) -> None:
    """Show the settings, secrets masked. Needs no running service, unless --live asks it.

    For example:

    - `orchestrator config show`
    - `orchestrator config show --origin`
    - `orchestrator config show gateway --origin`
    - `orchestrator config show --live`

    Parameters
    ----------
    section
        Only this section or key, such as `queue` or `queue.max_size`.
    origin
        Tell for each key who set it: default, file and line, environment variable, command line or database.
    live
        Ask the running service: its file, environment and flags, and the changes made since.
    file
        Configuration file; otherwise the one that `orchestrator start` would find.
    """
    if live:
        tree, origins = _live(remote)
    else:
        loaded = load(file)
        for warning in operator_warnings(loaded):
            output.warn(warning)
        tree, origins = dump(loaded.settings), loaded.origins
    paths = selected(section)
    if remote.json:
        output.print_json(document(tree, paths, origins if origin else None))
    elif origin:
        rows = [(path, compact(value(tree, path)), one.source, one.where) for path, one in chosen(origins, paths)]
        output.print_table(("key", "value", "origin", "where"), rows)
    else:
        output.print_text(yaml.safe_dump(document(tree, paths, None), sort_keys=False, allow_unicode=True))


def _live(remote: Remote) -> tuple[Mapping[str, Any], Mapping[str, Origin]]:
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/config")
    origins = {path: Origin(one["source"], one["where"]) for path, one in answer["origins"].items()}
    return answer["settings"], origins


@config.command(name="schema")
def show_schema(*, form: Format = PLAIN) -> None:
    """Print the JSON Schema of a configuration file, for editors and checks.

    Examples: `orchestrator config schema > orchestrator.schema.json`
    """
    output.print_json(schema())


@config.command
def validate(file: Path, /, *, form: Format = PLAIN) -> None:
    """Check a configuration file, together with this shell's environment, without starting anything.

    Examples: `orchestrator config validate orchestrator.yaml`

    Parameters
    ----------
    file
        Configuration file (.yaml, .toml or .json).
    """
    loaded = load(file)
    check_exposure(loaded.settings)
    warnings = operator_warnings(loaded)
    if form.json:
        output.print_json({"valid": True, "file": str(file), "warnings": warnings})
        return
    for warning in warnings:
        output.warn(warning)
    output.say(f"{file} is valid.", "green")


@config.command(name="set")
def change(changes: Annotated[list[str], Parameter(negative=())], /, *, remote: Remote = HERE) -> None:
    """Change live settings of the running service; the change is kept in its database.

    For example:

    - `orchestrator config set gateway.policy=least_connections`
    - `orchestrator config set queue.max_size=500 queue.timeout=30s`

    Parameters
    ----------
    changes
        PATH=VALUE. The value is read as JSON where it is JSON, as text otherwise.
    """
    tree: dict[str, Any] = {}
    for text in changes:
        path, mark, given = text.partition("=")
        if not mark or not path:
            raise WrongUsage(f"'{text}' is not PATH=VALUE, as in queue.max_size=500")
        tree[path.strip()] = parsed(given)
    with Connection(remote) as connection:
        answer = connection.admin("PATCH", "/config", tree)
    if remote.json:
        output.print_json(answer)
        return
    changed = answer.get("changed", [])
    for one in changed:
        output.say(f"{one['path']}: {compact(one['old'])} -> {compact(one['new'])}")
    if not changed:
        output.say("Nothing is different: it was so already.")


def parsed(text: str) -> Any:
    """JSON, or the text itself: `500`, `true`, `["a", "b"]`, `30s`."""
    try:
        return json_text.parse(text)
    except ValueError:
        return text


def selected(section: str | None) -> list[str]:
    """The keys below a path. Raises WrongUsage, with the nearest name, when there are none."""
    if section is None:
        return list(keys())
    found = [path for path in keys() if path == section or path.startswith(f"{section}.")]
    if not found:
        meant = nearest(section)
        raise WrongUsage(f"there is no setting '{section}'" + (f": did you mean '{meant}'?" if meant else ""))
    return found


def nearest(section: str) -> str:
    from difflib import get_close_matches

    names = sorted({*keys(), *(path.partition(".")[0] for path in keys())})
    return next(iter(get_close_matches(section, names, n=1)), "")


def chosen(origins: Mapping[str, Origin], paths: list[str]) -> list[tuple[str, Origin]]:
    return [(path, origins.get(path, Origin("default"))) for path in paths]


def document(tree: Mapping[str, Any], paths: list[str], origins: Mapping[str, Origin] | None) -> dict[str, Any]:
    """The chosen part of the tree; with origins a flat mapping `{path: {value, source, where}}`."""
    if origins is not None:
        return {
            path: {"value": value(tree, path), "source": one.source, "where": one.where}
            for path, one in chosen(origins, paths)
        }
    part: dict[str, Any] = {}
    for path in paths:
        branch = part
        *way, last = path.split(".")
        for step in way:
            branch = branch.setdefault(step, {})
        branch[last] = value(tree, path)
    return part


def value(tree: Mapping[str, Any], path: str) -> Any:
    found: Any = tree
    for step in path.split("."):
        found = found[step]
    return found


def compact(given: Any) -> str:
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
