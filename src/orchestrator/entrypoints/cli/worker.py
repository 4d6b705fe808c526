"""`orchestrator worker`: runs the handlers of a module."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.domain.node import NODE_ID
from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import api_key
from orchestrator.entrypoints.cli.failure import CommandFailed, WrongUsage
from orchestrator.entrypoints.cli.options import DEFAULT_URL, HERE, Remote, Seconds

if TYPE_CHECKING:  # a package of its own, which the service itself does not need
    from orchestrator_client import Worker


def worker(
    app: str,
    /,
    *,
    node_id: str | None = None,
    concurrency: int | None = None,
    grace: Seconds | None = None,
    executor: Literal["local", "ray"] | None = None,
    ray_address: str | None = None,
    ray_working_dir: Path | None = None,
    remote: Remote = HERE,
) -> None:
    """Run tasks with the handlers of a Python module, until SIGTERM or Ctrl-C.

    For example:

    - `orchestrator worker jobs:worker`
    - `orchestrator worker jobs:worker --concurrency 16 --url http://10.0.0.1:9000`
    - `orchestrator worker jobs:worker --executor ray --ray-address 10.0.0.5:6379`

    Told to stop it takes no more tasks, lets those that run finish within the grace, and gives back the rest. It
    connects again for ever when the service goes away. The module is looked for in this folder first.

    Parameters
    ----------
    app
        MODULE:NAME of a Worker of the package orchestrator_client.
    node_id
        Name of this worker. Default: what the module says, then the host and the number of the process.
    concurrency
        Tasks at a time, 1 to 1,000. Default: what the module says, then 4, or what the Ray cluster has room for.
    grace
        How long running tasks may take to finish when the worker stops, in seconds or as in 5m. Default: what the
        module says, then 30.
    executor
        Where handlers run: local, in this process; ray, as tasks of a Ray cluster that this machine is part of.
        Default: what the module says, then local.
    ray_address
        HOST:PORT of the cluster's head. Default: $RAY_ADDRESS, then the cluster that runs on this machine.
    ray_working_dir
        A folder that goes to the cluster's machines, for what the module imports.
    """
    found = load(app)
    from orchestrator_client import OrchestratorError

    if remote.url != DEFAULT_URL or not found.url:
        found.url = remote.url
    found.api_key = api_key(remote) or found.api_key
    found.node_id = found.node_id if node_id is None else node_id
    if not NODE_ID.match(found.node_id):  # as a part of a path it might not reach the service, which would say so
        rule = "must be 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        raise WrongUsage(f"node_id: '{found.node_id}' {rule}")
    if concurrency is not None:
        if not 1 <= concurrency <= 1_000:
            raise WrongUsage("--concurrency: 1 to 1000")
        found.concurrency = concurrency
    found.grace = found.grace if grace is None else grace
    _choose_executor(found, executor, ray_address, ray_working_dir)
    if not found.handlers:
        raise WrongUsage(f"'{app}' has no handlers: decorate functions with @{app.rpartition(':')[2]}.task(...).")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every request otherwise
    types = sorted(found.handlers)
    if remote.json:
        output.print_json({"node_id": found.node_id, "url": found.url, "task_types": types})
    else:
        output.say(f"{found.node_id} runs {', '.join(types)} for {found.url}. Ctrl-C stops it.")
    try:
        found.run()
    except OrchestratorError as error:
        raise CommandFailed(error.message, details={"status": error.status}) from None
    except ValueError as error:  # a handler that the executor cannot run
        raise WrongUsage(str(error)) from None


def _choose_executor(found: Worker, executor: str | None, address: str | None, working_dir: Path | None) -> None:
    """Raises WrongUsage."""
    from orchestrator_client import RayCluster

    if executor == "ray":
        if working_dir is not None and not working_dir.is_dir():
            raise WrongUsage(f"--ray-working-dir: there is no folder {working_dir}")
        env = {"working_dir": str(working_dir.resolve())} if working_dir else {}
        found.executor = RayCluster(address, runtime_env=env)
    elif address or working_dir:
        raise WrongUsage("--ray-address and --ray-working-dir go with --executor ray.")
    elif executor == "local":
        found.executor = None


def load(app: str) -> Worker:
    """The Worker that `MODULE:NAME` names. Raises WrongUsage, CommandFailed."""
    try:
        from orchestrator_client import Worker
    except ModuleNotFoundError:
        hint = "Install it: pip install ./clients/python"
        raise CommandFailed("The package orchestrator_client is not installed.", hint=hint) from None
    module, colon, name = app.partition(":")
    if not (module and colon and name) or module.startswith("."):
        raise WrongUsage(f"'{app}' is not MODULE:NAME, such as jobs:worker.")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    # Processes of handlers import the module too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, SyntaxError) as error:  # they say where
        raise WrongUsage(f"'{app}' cannot be loaded: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the edge of another's module: told, with the place
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise WrongUsage(
            f"'{app}' cannot be loaded: {type(error).__name__}: {error}",
            hint=f"Raised in {place.filename}, line {place.lineno}.",
        ) from None
    if not isinstance(found, Worker):
        raise WrongUsage(f"'{app}' is no Worker of orchestrator_client but {type(found).__name__}.")
    return found
