"""Commands in containers: a fresh one for each, without network, mounts and rights."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable

from orchestrator.domain.errors import InvalidRequest, ToolCrashed, ToolTimeout
from orchestrator.ports.commands import KEPT, Command, Ended
from orchestrator.ports.containers import ContainerOrder, Containers

GRACE = 60.0  # seconds that a container may be there after its time
FOLDER = "/tmp"  # noqa: S108 - the container's own; all else in it is for reading only


class ContainedCommands:
    """`Commands`. They run in an empty folder of the container; a command that writes more than is kept is ended."""

    python = "python"

    def __init__(
        self,
        engine: Containers,
        image: str,
        memory: int,
        new_id: Callable[[], str],
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`memory` in bytes; `wall` tells seconds since the epoch."""
        self._engine = engine
        self._image = image
        self._memory = memory
        self._new_id = new_id
        self._wall = wall
        self._monotonic = monotonic

    async def run(self, command: Command) -> Ended:
        if command.folder is not None:
            raise InvalidRequest("working_dir: containers do not see the tools' folder (tools.execution: container)")
        start = self._monotonic()
        try:
            async with asyncio.timeout(command.timeout):
                ended = await self._engine.run(self._order(command))
        except TimeoutError:
            raise ToolTimeout(f"The command did not end within {command.timeout:g} s.") from None
        if ended.out_of_memory:
            raise ToolCrashed("The container was ended: it needed more memory than it has")
        seconds = self._monotonic() - start
        return Ended(ended.status, ended.stdout, ended.stderr[-KEPT:], seconds, stdout_truncated=ended.cut)

    def _order(self, command: Command) -> ContainerOrder:
        arguments, content = command.arguments, b""
        if command.files:  # one at most: it comes as the standard input
            ((name, content),) = command.files.items()
            line = f"cat > {shlex.quote(name)} && exec {shlex.join(arguments)} < /dev/null"
            arguments = ("/bin/sh", "-c", line)
        return ContainerOrder(
            name=f"orchestrator-command-{self._new_id()}",
            image=self._image,
            command=arguments,
            stdin=content,
            ends_at=self._wall() + command.timeout + GRACE,
            environment={"HOME": FOLDER, "TMPDIR": FOLDER, "LANG": "C.UTF-8"},
            workdir=FOLDER,
            memory=self._memory,
            output=KEPT,
        )
