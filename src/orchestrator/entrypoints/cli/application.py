"""The `orchestrator` command: its commands, and what happens around every one of them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError

from orchestrator import __version__
from orchestrator.domain.errors import OrchestratorError
from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.access_keys import keys
from orchestrator.entrypoints.cli.analytics import analytics
from orchestrator.entrypoints.cli.approvals import approvals
from orchestrator.entrypoints.cli.artifacts import artifacts
from orchestrator.entrypoints.cli.bans import bans
from orchestrator.entrypoints.cli.breakers import breakers
from orchestrator.entrypoints.cli.chat import chat
from orchestrator.entrypoints.cli.completion import completion
from orchestrator.entrypoints.cli.configuration_versions import config
from orchestrator.entrypoints.cli.db import db
from orchestrator.entrypoints.cli.doctor import doctor
from orchestrator.entrypoints.cli.events import events
from orchestrator.entrypoints.cli.failure import DONE, INTERRUPTED, described, exit_code, told
from orchestrator.entrypoints.cli.importing import importing
from orchestrator.entrypoints.cli.logs import logs
from orchestrator.entrypoints.cli.mcp import mcp
from orchestrator.entrypoints.cli.models import models
from orchestrator.entrypoints.cli.nodes import nodes
from orchestrator.entrypoints.cli.options import PLAIN, Format
from orchestrator.entrypoints.cli.queue import queue
from orchestrator.entrypoints.cli.recovery import recovery
from orchestrator.entrypoints.cli.registry import registry
from orchestrator.entrypoints.cli.requests import requests
from orchestrator.entrypoints.cli.runtime import LookAtStorage, Runtime, SchemaWork, Serve
from orchestrator.entrypoints.cli.schedules import schedules
from orchestrator.entrypoints.cli.search import search
from orchestrator.entrypoints.cli.start import start
from orchestrator.entrypoints.cli.status import status
from orchestrator.entrypoints.cli.tasks import tasks
from orchestrator.entrypoints.cli.tools import tools
from orchestrator.entrypoints.cli.webhooks import webhooks
from orchestrator.entrypoints.cli.worker import worker
from orchestrator.entrypoints.cli.workers import workers

ABOUT = """One service that runs AI work on a fleet.

For example:

- `orchestrator start`
- `orchestrator status --watch`
- `orchestrator nodes add gpu1 http://10.0.0.5:11434`
- `orchestrator chat llama3 "Why is the sky blue?"`

Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 no service at the URL, 130 interrupted.

Every command takes `--json`; errors are JSON then too. Data goes to standard output, messages to standard error.
A terminal gets tables and colour (none with NO_COLOR), a pipe gets lines with tabs between the cells.
Commands that talk to a service take its URL from `--url` or `ORCHESTRATOR_URL` and the API key from `--api-key-file` or
`ORCHESTRATOR_API_KEY`, never from a flag.
"""
EPILOGUE = "Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 no service at the URL, 130 interrupted."

SHOWN_BY = {
    "nodes": "list",
    "workers": "list",
    "tasks": "list",
    "schedules": "list",
    "artifacts": "list",
    "tools": "list",
    "approvals": "list",
    "webhooks": "list",
    "models": "list",
    "queue": "show",
    "breakers": "list",
    "recovery": "list",
    "bans": "list",
    "keys": "list",
    "requests": "list",
    "analytics": "summary",
    "db": "current",
    "mcp": "serve",
}

app = App(
    name="orchestrator",
    help=ABOUT,
    help_format="markdown",
    version=__version__,
    version_flags=["--version"],
    result_action="return_value",
)
for command in (
    start,
    status,
    nodes,
    workers,
    worker,
    tasks,
    schedules,
    artifacts,
    tools,
    approvals,
    events,
    webhooks,
    models,
    chat,
    queue,
    breakers,
    recovery,
    bans,
    keys,
    config,
    importing,
    logs,
    requests,
    analytics,
    registry,
    search,
    mcp,
    db,
    doctor,
    completion,
):
    if isinstance(command, App):
        command.help_epilogue = EPILOGUE
        app.command(command)
    else:
        app.command(command, help_epilogue=EPILOGUE)


@app.command(help_epilogue=EPILOGUE)
def version(*, form: Format = PLAIN) -> None:
    """Show the version.

    Examples: `orchestrator version`, `orchestrator version --json`
    """
    python = ".".join(map(str, sys.version_info[:3]))
    if form.json:
        output.print_json({"version": __version__, "python": python})
    else:
        output.print_text(f"orchestrator {__version__} (Python {python})")


def main(
    *, serve: Serve, look_at_storage: LookAtStorage, schema: SchemaWork, arguments: Sequence[str] | None = None
) -> int:
    """Runs one command and returns its exit status (see `failure`); the rest is explained at `Runtime`."""
    tokens = _completed(list(sys.argv[1:] if arguments is None else arguments))
    try:
        return _run(tokens, Runtime(serve, look_at_storage, schema, app))
    except (OrchestratorError, CycloptsError) as error:
        if "--json" in tokens:
            output.print_json(described(error))
        else:
            output.fail(told(error))
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nobody to tell. Python would complain at exit otherwise.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _completed(tokens: list[str]) -> list[str]:
    """`orchestrator nodes` lists the nodes: a noun alone, or with options, is asked for its list."""
    word = SHOWN_BY.get(tokens[0]) if tokens else None
    asks_help = any(token in ("-h", "--help") for token in tokens)
    if word is None or asks_help or (len(tokens) > 1 and not tokens[1].startswith("-")):
        return tokens
    return [tokens[0], word, *tokens[1:]]


def _run(tokens: list[str], runtime: Runtime) -> int:
    command, bound, unparsed = app.parse_args(tokens, exit_on_error=False, print_error=False)
    given: dict[str, Any] = {name: runtime for name, kind in unparsed.items() if kind is Runtime}
    result = command(*bound.args, **bound.kwargs, **given)
    return result if isinstance(result, int) else DONE
