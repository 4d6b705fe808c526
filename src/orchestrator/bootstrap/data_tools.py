"""Puts together the built-in tools for data, the web, databases and commands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import cast
from urllib.parse import urlsplit
from uuid import uuid4

from orchestrator.adapters.commands import CommandProcesses
from orchestrator.adapters.files import FileTree
from orchestrator.adapters.jsonschema import CompiledSchemas
from orchestrator.adapters.sql.query_tool import open_databases
from orchestrator.bootstrap import values
from orchestrator.bootstrap.tool_parts import Surroundings
from orchestrator.domain.errors import ConfigurationError
from orchestrator.ports.commands import Commands
from orchestrator.ports.containers import Containers
from orchestrator.ports.tool_runner import BuiltinTool
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.data import DataProcessing
from orchestrator.services.builtin_tools.execution import PythonExecutor, Terminal
from orchestrator.services.builtin_tools.execution.contained import ContainedCommands
from orchestrator.services.builtin_tools.offer import absent
from orchestrator.services.builtin_tools.sql import Sql, SqlWrite
from orchestrator.services.builtin_tools.validation import Validation
from orchestrator.services.builtin_tools.web import HeadlessBrowser, HttpClient, WebSearch
from orchestrator.services.builtin_tools.web.search import Searches, own_host
from orchestrator.services.egress import Egress
from orchestrator.settings import Settings

HOSTS, SEARCH = "tools.hosts", "tools.search_url"
MISSING = "tools.execution: containers need the package aiodocker: install orchestrator[docker]"


@dataclass(frozen=True, slots=True)
class DataTools:
    tools: Sequence[BuiltinTool]
    egress: Egress
    browser: HeadlessBrowser
    engine: Containers | None

    async def start(self, stack: AsyncExitStack) -> None:
        if self.engine is not None:
            stack.push_async_callback(self.engine.close)

    def adopt(self, settings: Settings) -> None:
        """Hosts that are allowed from now on."""
        self.egress.hosts = values.tool_hosts(settings)
        self.browser.forget()


def build_data_tools(around: Surroundings, files: FileTree) -> DataTools:
    """Connects to nothing. Raises ConfigurationError."""
    apart = Apart(around.processes)
    egress = Egress(around.upstream, values.tool_hosts(around.settings), HOSTS)
    search = WebSearch(_searches(around, egress), apart, around.clock.wall, around.clock.tick)
    browser = HeadlessBrowser(egress, apart, search, around.clock.tick)
    engine = _engine(around)
    commands = _commands(around, files, engine)
    pages = find_spec("selectolax") is not None
    tools: list[BuiltinTool] = [
        DataProcessing(apart, files),
        Validation(CompiledSchemas()),
        *_sql(around),
        HttpClient(egress, around.clock.tick),
        search if pages or around.settings.tools.search_url else absent(search.tool, "web"),
        browser if pages else absent(browser.tool, "web"),
        Terminal(commands),
        PythonExecutor(commands),
    ]
    return DataTools(tools, egress, browser, engine)


def _searches(around: Surroundings, egress: Egress) -> Searches:
    url = around.settings.tools.search_url
    if url is None:
        return Searches(egress)
    return Searches(egress, url, Egress(around.upstream, own_host(urlsplit(url).geturl()), SEARCH))


def _sql(around: Surroundings) -> tuple[Sql, SqlWrite]:
    settings = around.settings
    urls = {name: values.resolve_secret(one.url) or "" for name, one in settings.tools.databases.items()}
    databases = open_databases(urls, settings.database_url, around.processes)
    writable = {name: one for name, one in databases.items() if settings.tools.databases[name].writable}
    return Sql(databases), SqlWrite(writable)


def _engine(around: Surroundings) -> Containers | None:
    if around.settings.tools.execution != "container":
        return None
    try:
        adapter = import_module("orchestrator.adapters.docker")
    except ModuleNotFoundError:
        raise ConfigurationError(MISSING) from None
    return cast("Containers", adapter.DockerContainers(around.settings.tools.docker_host, around.storage.instance_id))


def _commands(around: Surroundings, files: FileTree, engine: Containers | None) -> Commands | None:
    tools, clock = around.settings.tools, around.clock
    if engine is not None:
        return ContainedCommands(
            engine, tools.execution_image, tools.execution_memory, lambda: uuid4().hex, clock.wall, clock.tick
        )
    if tools.execution == "process":
        return CommandProcesses(files.folder, tools.execution_memory)
    return None
