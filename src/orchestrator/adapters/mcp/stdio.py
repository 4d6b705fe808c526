"""Servers that are commands on this machine: started in a session of their own with an environment of their own, ended
with the service, and heard on standard error."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import monotonic

from mcp.client._transport import TransportStreams
from mcp.client.stdio import StdioServerParameters, get_default_environment, stdio_client

from orchestrator.domain.errors import ToolCrashed
from orchestrator.domain.mcp import McpServer

LINE = 2_000  # characters of standard error in one entry
LINES, PERIOD = 100, 60.0  # at most so many entries within so many seconds
_log = logging.getLogger("orchestrator.mcp")

# Between us and the command: the kernel ends the command with the process that started it, even with a killed one.
_TIED = (
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9);"
    "os.getppid()==int(sys.argv[1]) or os._exit(1);os.execv(sys.argv[2],sys.argv[3:])"
)


@asynccontextmanager
async def started(server: McpServer) -> AsyncGenerator[TransportStreams]:
    """The streams of the command. Raises ToolCrashed when it cannot be started."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as errors:
        listening = asyncio.create_task(_listen(server.name, reading))
        try:
            async with stdio_client(_parameters(server), errors) as streams:
                errors.close()  # the command has it; the pipe ends with the command
                yield streams
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def _parameters(server: McpServer) -> StdioServerParameters:
    program = _program(server)
    tied = sys.platform == "linux"
    words = [*server.command]
    if tied:
        words = [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), program, *server.command]
    else:
        words[0] = program
    return StdioServerParameters(
        command=words[0], args=words[1:], env=dict(server.env), cwd=server.cwd, encoding_error_handler="replace"
    )


def _program(server: McpServer) -> str:
    """Where the command is, by the PATH that it will have. Raises ToolCrashed."""
    name = server.command[0]
    path = {**get_default_environment(), **server.env}.get("PATH", os.defpath)
    if server.cwd is not None and not os.path.isdir(server.cwd):
        raise ToolCrashed(f"The folder of the MCP server '{server.name}' is not there: {server.cwd}")
    if os.path.dirname(name) and not os.path.isabs(name):
        name = os.path.abspath(os.path.join(server.cwd or "", name))
    found = shutil.which(name, path=path)
    if found is None:
        raise ToolCrashed(f"The command of the MCP server '{server.name}' cannot be started: {name}")
    return os.path.abspath(found)


async def _listen(name: str, descriptor: int) -> None:
    """Logs what the command says on standard error, until it ends."""
    reader = asyncio.StreamReader()
    with os.fdopen(descriptor, "rb") as pipe:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        said = Said(name)
        try:
            while piece := await reader.read(8_192):
                said.hear(piece.decode("utf-8", "replace"))
            said.end()
        finally:
            transport.close()


class Said:
    """Lines of standard error on their way to the log: cut, and no more than `LINES` within `PERIOD` seconds."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._rest = ""
        self._since = monotonic()
        self._count = 0

    def hear(self, text: str) -> None:
        *lines, rest = (self._rest + text).split("\n")
        for line in lines:
            self._tell(line)
        self._rest = rest[: LINE + 1]

    def end(self) -> None:
        self._tell(self._rest)
        self._rest = ""

    def _tell(self, line: str) -> None:
        if not line.strip():
            return
        now = monotonic()
        if now - self._since >= PERIOD:
            self._since, self._count = now, 0
        self._count += 1
        if self._count < LINES:
            _log.info("mcp_server_said", extra={"server": self._server, "line": line.rstrip()[:LINE]})
        elif self._count == LINES:
            _log.warning("mcp_server_said", extra={"server": self._server, "line": "... (more lines are left out)"})
