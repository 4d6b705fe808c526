"""Commands as processes of the service's own user, with limits. That is no sandbox: a command may read what this user
may read, and reach what this machine reaches."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain.errors import InvalidRequest, ToolFailed, ToolTimeout
from orchestrator.domain.tree_path import names_of
from orchestrator.ports.commands import KEPT, Command, Ended

LAUNCH = str(Path(__file__).with_name("launch.py"))
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE = 3.0  # seconds, for the launcher to end everything
FILE_SIZE = 256 << 20  # bytes of the largest file that a command may write
SET_DUMPABLE = 4
PIECE = 64 << 10


@dataclass(slots=True)
class _Kept:
    """The beginning of an output; the rest is read and thrown away, so that the command goes on."""

    content: bytearray
    truncated: bool = False

    async def fill(self, stream: asyncio.StreamReader) -> None:
        while piece := await stream.read(PIECE):
            room = KEPT - len(self.content)
            self.content += piece[:room]
            self.truncated = self.truncated or len(piece) > room


class CommandProcesses:
    """`Commands`."""

    python = sys.executable

    def __init__(self, root: Path, memory: int, most: int = 4) -> None:
        """`root` is the tools' folder; `memory` in bytes, of each process; `most` commands run at a time."""
        self._root = root
        self._memory = memory
        self._room = asyncio.Semaphore(most)
        # Processes of the same user may read each other's environment, which may hold keys, unless this is 0.
        ctypes.CDLL(None).prctl(SET_DUMPABLE, 0, 0, 0, 0)

    async def run(self, command: Command) -> Ended:
        async with self._room:
            if command.folder is not None:
                return await self._run(command, await asyncio.to_thread(self._below, command.folder))
            folder = await asyncio.to_thread(_new_folder, command.files)
            try:
                return await self._run(command, folder)
            finally:
                await asyncio.shield(asyncio.to_thread(_remove, folder))

    def _below(self, folder: str) -> Path:
        """Raises InvalidRequest unless it is a folder below the root, without a link on the way."""
        found = self._root
        for name in names_of(folder, top=True):
            found /= name
            if found.is_symlink():
                raise InvalidRequest(f"working_dir: '{folder}' leads through a link")
        if not found.is_dir():
            raise InvalidRequest(f"working_dir: there is no folder '{folder}' below the tools' folder")
        return found

    async def _run(self, command: Command, folder: Path) -> Ended:
        start = time.monotonic()
        process = await self._begin(command, folder)
        assert process.stdout is not None
        assert process.stderr is not None
        stdout, stderr = _Kept(bytearray()), _Kept(bytearray())
        try:
            async with asyncio.timeout(command.timeout):
                await asyncio.gather(stdout.fill(process.stdout), stderr.fill(process.stderr))
                status = await process.wait()
        except TimeoutError:
            raise ToolTimeout(f"The command did not end within {command.timeout:g} s.") from None
        finally:
            if process.returncode is None:
                await asyncio.shield(_ended(process))
        seconds = time.monotonic() - start
        return Ended(status, bytes(stdout.content), bytes(stderr.content), seconds, stdout.truncated, stderr.truncated)

    async def _begin(self, command: Command, folder: Path) -> asyncio.subprocess.Process:
        order = {
            "arguments": command.arguments,
            "parent": os.getpid(),
            "memory": self._memory,
            "cpu_seconds": int(command.timeout) + 2,
            "file_size": FILE_SIZE,
        }
        home = str(folder)
        environment = {"PATH": PATHS, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        starting = asyncio.ensure_future(asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", LAUNCH, json.dumps(order),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            env=environment,
            start_new_session=True,
        ))  # fmt: skip
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A start that is cancelled half-way loses sight of its process, and may never return.
            await asyncio.shield(_ended_when_started(starting))
            raise
        except (OSError, ValueError) as error:  # such as a text with a zero character, or too long a one
            raise ToolFailed(f"The command cannot be started: {error}") from None


async def _ended_when_started(starting: asyncio.Future[asyncio.subprocess.Process]) -> None:
    with contextlib.suppress(OSError, ValueError):
        await _ended(await starting)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Has the launcher end everything, and makes sure that it ends."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(GRACE):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _new_folder(files: Mapping[str, bytes]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-command-"))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _remove(folder: Path) -> None:
    def unlocked(function: Callable[[str], object], path: str, _error: object) -> None:
        """The command may have taken the rights from a folder."""
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o700)
            if not Path(path).is_symlink():
                Path(path).chmod(0o700)
            function(path)

    shutil.rmtree(folder, onerror=unlocked)
    shutil.rmtree(folder, ignore_errors=True)
