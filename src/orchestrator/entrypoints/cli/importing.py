"""`orchestrator import`: another gateway's configuration as ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cyclopts import App

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.failure import WrongUsage
from orchestrator.entrypoints.cli.options import PLAIN, Flag, Format
from orchestrator.settings.document import read
from orchestrator.settings.importing import Imported, Outcome, from_litellm, from_ollama_orchestrator

importing = App(name="import", help="Another gateway's configuration as a file of ours, with a report.")
COLUMNS = ("what", "there", "here", "note")


@importing.command(name="ollama-orchestrator")
def ollama_orchestrator(file: Path, /, *, out: Path | None = None, force: Flag = False, form: Format = PLAIN) -> None:
    """Turn a configuration of Ollama Orchestrator into ours.

    It may be a config file of either documented layout, a backup of `GET /api/orchestrator/config`, or
    `data/servers.json`. References to secrets (`env:NAME`) stay references.

    For example:

    - `orchestrator import ollama-orchestrator config.yaml --out orchestrator.yaml`
    - `orchestrator import ollama-orchestrator data/servers.json --json`

    Parameters
    ----------
    file
        The file (.yaml, .yml or .json).
    out
        Where to write ours; without it, standard output gets it and standard error the report.
    force
        Overwrite the file of --out.
    """
    finish(from_ollama_orchestrator(read(file, wrap="servers").data), out, force, form)


@importing.command
def litellm(file: Path, /, *, out: Path | None = None, force: Flag = False, form: Format = PLAIN) -> None:
    """Turn a LiteLLM proxy's config.yaml into ours.

    Deployments become nodes, one for each server, and model names become aliases. References to secrets
    (`os.environ/NAME`) stay references (`env:NAME`).

    Examples: `orchestrator import litellm config.yaml --out orchestrator.yaml`

    Parameters
    ----------
    file
        The file (.yaml, .yml or .json).
    out
        Where to write ours; without it, standard output gets it and standard error the report.
    force
        Overwrite the file of --out.
    """
    finish(from_litellm(read(file).data), out, force, form)


def finish(made: Imported, out: Path | None, force: bool, form: Format) -> None:
    """Writes the result and tells what became of each setting."""
    if out is not None:
        write(out, made.text(), force)
    rows = [(one.outcome.value, one.source, one.path or None, one.note or None) for one in made.findings]
    if form.json:
        report = [
            {"outcome": one.outcome.value, "source": one.source, "path": one.path, "note": one.note}
            for one in made.findings
        ]
        output.print_json({"config": made.tree, "out": str(out) if out is not None else None, "report": report})
        return
    if out is not None:
        output.print_table(COLUMNS, rows, "There was nothing to take over.")
    else:
        output.print_text(made.text())
        shown = [[output.shown(cell) for cell in row] for row in rows]
        if sys.stderr.isatty():
            output.err().print(output.rich_table(COLUMNS, shown))
        else:
            for row in shown:
                output.say("\t".join(row))
    counts = [f"{sum(one.outcome is kind for one in made.findings)} {kind}" for kind in Outcome]
    output.say(
        ", ".join(counts) + (f". Written to {out}; check it with `orchestrator config validate {out}`." if out else ".")
    )


def write(out: Path, text: str, force: bool) -> None:
    """For its owner alone: it may hold keys. Raises WrongUsage."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(out, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise WrongUsage(f"--out: {out} is there already (--force overwrites it)") from None
    except OSError as error:
        raise WrongUsage(f"--out: {out} cannot be written: {error.strerror}") from None
