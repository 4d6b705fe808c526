"""`orchestrator completion`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal, cast, get_args

from cyclopts import App
from cyclopts.completion import ShellDetectionError, detect_shell

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.failure import CommandFailed, WrongUsage
from orchestrator.entrypoints.cli.options import PLAIN, Format
from orchestrator.entrypoints.cli.runtime import Given

Shell = Literal["bash", "zsh", "fish"]
completion = App(name="completion", help="Completion of commands and options in bash, zsh and fish.")


@completion.command
def install(
    shell: Shell | None = None,
    /,
    *,
    path: Path | None = None,
    startup: bool = True,
    form: Format = PLAIN,
    runtime: Given,
) -> None:
    """Install completion for your shell.

    Examples: `orchestrator completion install`, `orchestrator completion install zsh --no-startup`

    Parameters
    ----------
    shell
        The shell; without it, the one that this command runs in.
    path
        Where to write the script; without it, the shell's usual place.
    startup
        Whether to add the line that loads it to ~/.bashrc or ~/.zshrc (fish needs none).
    """
    name = shell or detected()
    try:
        written = runtime.app.install_completion(shell=name, output=path, add_to_startup=startup)
    except OSError as error:
        raise CommandFailed(f"{error.filename} cannot be written: {error.strerror}") from None
    if form.json:
        output.print_json({"shell": name, "path": str(written)})
    else:
        output.say(f"Completion for {name} is in {written}. Open a new shell to use it.")


@completion.command
def show(shell: Shell | None = None, /, *, form: Format = PLAIN, runtime: Given) -> None:
    """Print the completion script.

    Examples: `orchestrator completion show zsh > _orchestrator`

    Parameters
    ----------
    shell
        The shell; without it, the one that this command runs in.
    """
    name = shell or detected()
    script = runtime.app.generate_completion(shell=name)
    if form.json:
        output.print_json({"shell": name, "script": script})
    else:
        output.print_text(script)


def detected() -> Shell:
    with suppress(ShellDetectionError):
        name = detect_shell()
        if name in get_args(Shell):
            return cast(Shell, name)
    raise WrongUsage("Which shell this is cannot be told: name it, bash, zsh or fish.")
