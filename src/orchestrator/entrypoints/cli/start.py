"""`orchestrator start`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from orchestrator.domain.errors import ConfigurationError
from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.banner import Banner
from orchestrator.entrypoints.cli.failure import WrongUsage
from orchestrator.entrypoints.cli.options import PLAIN, Flag, Format
from orchestrator.entrypoints.cli.reload import Supervisor
from orchestrator.entrypoints.cli.runtime import Given
from orchestrator.entrypoints.cli.warnings import operator_warnings
from orchestrator.settings import Loaded, load


def start(
    *,
    host: str | None = None,
    port: int | None = None,
    config: Path | None = None,
    data_dir: Path | None = None,
    database_url: str | None = None,
    gguf: Annotated[list[Path] | None, Parameter(negative=())] = None,
    demo: bool | None = None,
    discover: bool | None = None,
    restart: Flag = False,
    reload: Flag = False,
    form: Format = PLAIN,
    runtime: Given,
) -> None:
    """Run the service until SIGTERM or SIGINT (Ctrl-C).

    For example:

    - `orchestrator start`
    - `orchestrator start --gguf model.gguf`
    - `orchestrator start --config orchestrator.yaml --port 8080`
    - `orchestrator start --no-demo --no-discover`
    - `orchestrator start --restart`

    Flags win over the environment, which wins over the file. With --json the greeting is one JSON object.

    Parameters
    ----------
    host
        Address to bind. Any but a loopback one needs authentication (auth.enabled).
    port
        Port to listen on; 0 picks a free one. Default: 9000.
    config
        Configuration file (.yaml, .toml or .json).
    data_dir
        Directory of everything that is kept. Default: data.
    database_url
        sqlite:///path or postgresql://user@host/name. A password belongs in $ORCHESTRATOR_DATABASE__URL or in a file
        that $ORCHESTRATOR_DATABASE__URL_FILE names: other users of the machine can read flags.
    gguf
        GGUF file that the embedded engine serves. Can be given several times.
    demo
        Whether to start demo nodes when there is no other node.
    discover
        Whether to look for local model servers on their usual ports.
    restart
        Begin again when the service's process is killed or crashes: at once, without the seconds that a start takes.
        Clients that connect meanwhile wait.
    reload
        Restart when the source or the configuration changes. For development.
    """
    flags = {
        "server.host": host,
        "server.port": port,
        "data_dir": str(data_dir) if data_dir is not None else None,
        "database.url": database_url,
        "models.embedded": embedded(gguf),
        "demo.enabled": demo,
        "discovery.enabled": discover,
    }
    if reload and restart:
        raise WrongUsage("--reload and --restart do not go together: --reload restarts it already.")
    if reload:
        Supervisor(config_file(config, flags)).run()
        return
    loaded = load(config, flags=flags)
    for warning in operator_warnings(loaded):
        output.warn(warning)
    banner = Banner(loaded, form.json)
    runtime.serve(loaded, banner.show, output.warn if restart else None)
    if not form.json:
        output.say("Stopped.")


def embedded(files: list[Path] | None) -> list[str] | None:
    """Absolute paths: the engine runs in another process. Raises ConfigurationError for a file that is not there."""
    if not files:
        return None
    for file in files:
        if not file.is_file():
            raise ConfigurationError(f"--gguf: there is no file {file}")
    return [str(file.resolve()) for file in files]


def config_file(given: Path | None, flags: Mapping[str, Any]) -> Path | None:
    """The file to watch. A broken configuration is the child's to report, again after every change."""
    try:
        loaded: Loaded = load(given, flags=flags)
    except ConfigurationError:
        return given
    return loaded.file
