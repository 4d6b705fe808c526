"""Puts together what carries out tools of the kinds `http`, `python` and `container`."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import AsyncExitStack
from importlib import import_module
from typing import cast

from orchestrator.bootstrap import values
from orchestrator.bootstrap.nodes import keep
from orchestrator.bootstrap.tool_parts import Surroundings, ToolPart
from orchestrator.domain.errors import ConfigurationError, InvalidRequest, OrchestratorError
from orchestrator.domain.tool import Execution, ToolKind, ToolSource
from orchestrator.domain.worker_hosts import WorkerHosts
from orchestrator.ports.callables import ProcessLimits
from orchestrator.ports.containers import Containers
from orchestrator.ports.schemas import Schemas
from orchestrator.services.clock import Clock
from orchestrator.services.egress import Egress
from orchestrator.services.tool_calls.container_tool import AllowedImage, ContainerTool
from orchestrator.services.tool_calls.hosts import ToolHosts
from orchestrator.services.tool_calls.http_tool import HttpSecret, HttpTool
from orchestrator.services.tool_calls.python_tool import PythonTool, RegisteredFunction
from orchestrator.settings import Settings
from orchestrator.settings.tool_kinds import FunctionTool

SETTING = "tools.hosts"
MISSING = "tools.images, tools.execution: containers need the package aiodocker: install orchestrator[docker]"
SWEEP = 300.0  # seconds between two looks for containers that nobody waits for any more
PATIENCE = 10.0  # seconds for one look
_log = logging.getLogger("orchestrator.tools")


def build_runners(around: Surroundings, hosts: ToolHosts) -> ToolPart:
    """What may change of the settings is in force from the next call on. Raises ConfigurationError."""
    egress = Egress(around.upstream, values.tool_hosts(around.settings), SETTING)
    http = HttpTool(egress, around.tools.directory, hosts, around.clock.wall)
    functions = {name: _function(name, one, around.schemas) for name, one in around.settings.tools.functions.items()}
    python = PythonTool(around.processes, functions)

    def adopt(settings: Settings) -> None:
        egress.hosts = values.tool_hosts(settings)
        http.secrets = {
            name: HttpSecret(values.secret_text(secret.value), WorkerHosts.of(secret.hosts))
            for name, secret in settings.tools.secrets.items()
        }
        http.max_answer = settings.tools.max_answer

    async def start(stack: AsyncExitStack) -> None:
        if engine is not None:
            stack.push_async_callback(engine.close)
            alone = not around.settings.database_url.startswith("postgres")  # nobody else has containers of ours
            await _sweep(engine, math.inf if alone else around.clock.wall())  # before there are new ones
            keep(stack, _swept(engine, around.clock))

    adopt(around.settings)
    engine = _engine(around)
    images = [
        AllowedImage(one.image, one.network, one.memory, one.cpus, one.pids) for one in around.settings.tools.images
    ]
    container = ContainerTool(images, engine, around.clock.wall)
    return ToolPart(
        runners={ToolKind.HTTP: http, ToolKind.PYTHON: python, ToolKind.CONTAINER: container},
        offers={ToolSource.CONFIG: python},
        start=start,
        adopt=adopt,
    )


def _engine(around: Surroundings) -> Containers | None:
    """Docker, where there may be containers of ours. Raises ConfigurationError where its library is missing."""
    tools = around.settings.tools
    if not tools.images and tools.execution != "container":
        return None
    try:
        adapter = import_module("orchestrator.adapters.docker")
    except ModuleNotFoundError:
        raise ConfigurationError(MISSING) from None
    return cast("Containers", adapter.DockerContainers(tools.docker_host, around.storage.instance_id))


async def _swept(engine: Containers, clock: Clock) -> None:
    """Containers of replicas that are gone."""
    while True:
        await asyncio.sleep(SWEEP)
        await _sweep(engine, clock.wall())


async def _sweep(engine: Containers, before: float) -> None:
    """Docker may come and go meanwhile."""
    try:
        async with asyncio.timeout(PATIENCE):
            removed = await engine.sweep(before)
    except (OrchestratorError, TimeoutError) as error:
        _log.warning("tool_containers_not_swept", extra={"error": str(error) or "Docker does not answer"})
        return
    if removed:
        _log.info("tool_containers_removed", extra={"count": removed})


def _function(name: str, one: FunctionTool, schemas: Schemas) -> RegisteredFunction:
    """Raises ConfigurationError for a schema that is none. Loads nothing."""
    for key, schema in (("input_schema", one.input_schema), ("output_schema", one.output_schema or {})):
        try:
            schemas.check(schema)
        except InvalidRequest as error:
            raise ConfigurationError(f"tools.functions.{name}.{key}: {error.message}") from None
    return RegisteredFunction(
        one.function,
        Execution(
            ToolKind.PYTHON,
            side_effect=one.side_effect,
            approval=one.approval,
            timeout=one.timeout,
            attempts=one.attempts,
            cost=one.cost,
        ),
        ProcessLimits(
            one.memory,
            one.cpu_seconds,
            one.open_files,
            one.processes,
            one.file_size,
            one.output,
            one.environment,
        ),
        one.description,
        one.category,
        one.input_schema,
        one.output_schema,
    )
