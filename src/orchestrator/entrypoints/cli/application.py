"""The `orchestrator` command: its commands, and what happens around every one of them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from cyclopts import App, CycloptsError

from orchestrator import __version__
from orchestrator.domain.errors import OrchestratorError
from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.failure import DONE, FAILED, INTERRUPTED, described, exit_code, told
from orchestrator.entrypoints.cli.options import PLAIN, Format
from orchestrator.entrypoints.cli.runtime import LookAtStorage, Runtime, SchemaWork, Serve

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

# What each command is: a function, or an App with more of them, imported when it is called or listed.
COMMANDS = {
    "start": "start:start",
    "status": "status:status",
    "nodes": "nodes:nodes",
    "workers": "workers:workers",
    "worker": "worker:worker",
    "tasks": "tasks:tasks",
    "schedules": "schedules:schedules",
    "artifacts": "artifacts:artifacts",
    "tools": "tools:tools",
    "approvals": "approvals:approvals",
    "events": "events:events",
    "webhooks": "webhooks:webhooks",
    "models": "models:models",
    "chat": "chat:chat",
    "queue": "queue:queue",
    "breakers": "breakers:breakers",
    "recovery": "recovery:recovery",
    "bans": "bans:bans",
    "keys": "access_keys:keys",
    "config": "configuration_versions:config",
    "import": "importing:importing",
    "logs": "logs:logs",
    "requests": "requests:requests",
    "analytics": "analytics:analytics",
    "registry": "registry:registry",
    "search": "search:search",
    "mcp": "mcp:mcp",
    "db": "db:db",
    "doctor": "doctor:doctor",
    "completion": "completion:completion",
}

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # what a full or broken disk says
COMPLETION = "completion"  # speaks of all commands


class _Dash(str):
    """`-`, which stands for standard input; Cyclopts takes everything that starts with a hyphen for an option."""

    __slots__ = ()

    def startswith(self, *_: object) -> bool:
        return False


def application(word: str = "") -> App:
    """The command line with one command, or with all when `word` is none; to import all takes longer than most of them
    work."""
    app = App(
        name="orchestrator",
        help=ABOUT,
        help_format="markdown",
        version=__version__,
        version_flags=["--version"],
        result_action="return_value",
        console=output.HelpConsole(),
    )
    places = [COMMANDS[word]] if word in COMMANDS and word != COMPLETION else COMMANDS.values()
    for place in places:
        module, _, name = place.partition(":")
        command = getattr(import_module(f"{__package__}.{module}"), name)
        if isinstance(command, App):
            command.help_epilogue = EPILOGUE
            app.command(command)
        else:
            app.command(command, help_epilogue=EPILOGUE)
    app.command(version, help_epilogue=EPILOGUE)
    return app


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
    given = sys.argv[1:] if arguments is None else arguments
    tokens = _completed([_Dash(word) if word == "-" else word for word in given])
    try:
        return _reported(tokens, Runtime(serve, look_at_storage, schema, application(*tokens[:1])))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone (`| head`): nobody to tell
        _drop_output()
        return DONE
    except OSError as error:  # files are told where they are written: it is our output, which takes no JSON either
        if error.errno not in UNWRITABLE:
            raise
        _drop_output()
        output.fail(f"The output cannot be written: {error.strerror or error}")
        return FAILED


def _reported(tokens: list[str], runtime: Runtime) -> int:
    try:
        return _run(tokens, runtime)
    except (OrchestratorError, CycloptsError) as error:
        if "--json" in tokens:
            output.print_json(described(error))
        else:
            output.fail(told(error))
        return exit_code(error)


def _drop_output() -> None:
    """Python would write again what is left, and complain, at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _completed(tokens: list[str]) -> list[str]:
    """`orchestrator nodes` lists the nodes: a noun alone, or with options, is asked for its list."""
    word = SHOWN_BY.get(tokens[0]) if tokens else None
    asks_help = any(token in ("-h", "--help") for token in tokens)
    if word is None or asks_help or (len(tokens) > 1 and not tokens[1].startswith("-")):
        return tokens
    return [tokens[0], word, *tokens[1:]]


def _run(tokens: list[str], runtime: Runtime) -> int:
    command, bound, unparsed = runtime.app.parse_args(tokens, exit_on_error=False, print_error=False)
    given: dict[str, Any] = {name: runtime for name, kind in unparsed.items() if kind is Runtime}
    result = command(*bound.args, **bound.kwargs, **given)
    return result if isinstance(result, int) else DONE
