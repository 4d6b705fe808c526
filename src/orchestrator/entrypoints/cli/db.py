"""`orchestrator db`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclopts import App

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.failure import FAILED
from orchestrator.entrypoints.cli.options import PLAIN, Format, Yes
from orchestrator.entrypoints.cli.runtime import Given, Runtime
from orchestrator.settings import load

db = App(name="db", help="The database's schema: what it is, and changing it. Needs no running service.")


@db.command
def current(*, config: Path | None = None, form: Format = PLAIN, runtime: Given) -> None:
    """Show which revision of the schema the database has.

    Examples: `orchestrator db current`, `orchestrator db current --json`

    Parameters
    ----------
    config
        Configuration file; otherwise the one that `orchestrator start` would find.
    """
    _show(form, _work(runtime, config, "current"))


@db.command
def history(*, config: Path | None = None, form: Format = PLAIN, runtime: Given) -> None:
    """List the revisions of the schema, and which of them the database has.

    Examples: `orchestrator db history`

    Parameters
    ----------
    config
        Configuration file; otherwise the one that `orchestrator start` would find.
    """
    found = _work(runtime, config, "history")
    if form.json:
        output.print_json(found)
        return
    rows = [(one["revision"], one["applied"], one["text"]) for one in found["revisions"]]
    output.print_table(("revision", "applied", "about"), rows)


@db.command
def check(*, config: Path | None = None, form: Format = PLAIN, runtime: Given) -> int | None:
    """Check that the database answers and that its tables and indexes are those of this release.

    Examples: `orchestrator db check`

    Exit status 1 when they are not.

    Parameters
    ----------
    config
        Configuration file; otherwise the one that `orchestrator start` would find.
    """
    found = _work(runtime, config, "check")
    _show(form, found)
    return None if found["ok"] else FAILED


@db.command
def upgrade(revision: str = "", /, *, config: Path | None = None, form: Format = PLAIN, runtime: Given) -> None:
    """Bring the schema to this release's revision. The service does so itself when it starts.

    Examples: `orchestrator db upgrade`, `orchestrator db upgrade 0009`

    Parameters
    ----------
    revision
        Revision to stop at.
    config
        Configuration file; otherwise the one that `orchestrator start` would find.
    """
    _show(form, _work(runtime, config, "upgrade", revision))


@db.command
def downgrade(
    revision: str, /, *, yes: Yes = False, config: Path | None = None, form: Format = PLAIN, runtime: Given
) -> None:
    """Take the schema back. What only newer revisions can hold is lost; stop the service first.

    Examples: `orchestrator db downgrade -1 --yes`, `orchestrator db downgrade 0009 --yes`

    Parameters
    ----------
    revision
        Revision to go back to; `-1` is the one before, `base` none.
    yes
        Do not ask.
    config
        Configuration file; otherwise the one that `orchestrator start` would find.
    """
    confirm(f"Take the schema back to {revision}, and lose what it cannot hold?", yes)
    _show(form, _work(runtime, config, "downgrade", revision))


def _work(runtime: Runtime, config: Path | None, action: str, revision: str = "") -> Mapping[str, Any]:
    return runtime.schema(load(config).settings, action, revision)


def _show(form: Format, found: Mapping[str, Any]) -> None:
    if form.json:
        output.print_json(found)
    else:
        output.print_fields(found)
