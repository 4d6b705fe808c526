"""The command line for tests: in this process (fast), in one of its own, and on a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.__main__ import look_at_storage, schema, serve
from orchestrator.entrypoints import cli

WAIT = 20.0  # seconds for what should happen at once
COMMAND = (sys.executable, "-m", "orchestrator")


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[dict[str, str]]:
        """The lines of a piped table by their column names."""
        head, *lines = [line.split("\t") for line in self.out.splitlines()]
        return [dict(zip(head, line, strict=True)) for line in lines]


def environment(**changes: str) -> dict[str, str]:
    """This process's, without what would change the command line's defaults."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR", "NO_COLOR"))}
    return kept | {"TERM": "xterm", **changes}


class CommandLine:
    """Runs commands in this process; the service is another's business."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str = "") -> None:
        self._capsys = capsys
        self._url = url

    def at(self, url: str) -> CommandLine:
        return CommandLine(self._capsys, url)

    def run(self, *arguments: str) -> Result:
        self._capsys.readouterr()
        where = ["--url", self._url] if self._url else []
        words = [*arguments, *where]
        status = cli.main(serve=serve, look_at_storage=look_at_storage, schema=schema, arguments=words)
        out, err = self._capsys.readouterr()
        return Result(status, out, err)

    async def __call__(self, *arguments: str) -> Result:
        """Beside the event loop, where the service may live."""
        return await asyncio.to_thread(self.run, *arguments)


async def spawn(
    *arguments: str, stdin: str = "", cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> Result:
    """The command in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=cwd, env=dict(environ or environment()),
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


class Screen:
    """A terminal with a command on it. What it shows is in `text`."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.text = ""
        self._process = process
        self._descriptor = descriptor
        self._seen = 0

    async def until(self, text: str) -> str:
        """Waits until the terminal shows `text` after what was waited for before; returns what came until then."""
        async with asyncio.timeout(WAIT):
            while (at := self.text.find(text, self._seen)) < 0:
                assert await self._more(), f"the command ended without showing {text!r}:\n{self.text}"
        shown, self._seen = self.text[self._seen : at], at + len(text)
        return shown

    async def end(self) -> int:
        """Waits for the command's end; returns its exit status."""
        async with asyncio.timeout(WAIT):
            while await self._more():
                pass
            return await asyncio.to_thread(self._process.wait)

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def interrupt(self) -> None:
        """What the terminal does at Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    async def _more(self) -> bool:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._descriptor, readable.set)
        try:
            await readable.wait()
            data = os.read(self._descriptor, 65536)
        except OSError:  # Linux says so when the other end is closed
            data = b""
        finally:
            loop.remove_reader(self._descriptor)
        self.text += data.decode(errors="replace")
        return bool(data)


@asynccontextmanager
async def terminal(*arguments: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Screen]:
    """The command with a terminal as standard input, output and error."""
    ours, theirs = pty.openpty()
    env = dict(environ or environment(COLUMNS="120"))
    process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
        [*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Screen(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
        await asyncio.to_thread(process.wait)
        os.close(ours)


@asynccontextmanager
async def started(*arguments: str, cwd: Path, environ: Mapping[str, str] | None = None) -> AsyncIterator[Started]:
    """`orchestrator start` in a process of its own, in the folder `cwd`."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "start", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd,
        env=dict(environ or environment()),
    )  # fmt: skip
    try:
        yield Started(process)
    finally:
        if process.returncode is None:
            process.kill()
        # Reads the pipes to their ends: a pipe left open would be a warning.
        await process.communicate()


class Started:
    """A service under way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[str] = []

    async def until(self, text: str) -> str:
        """Waits for a line on standard error that has `text`; returns it."""
        assert self._process.stderr is not None
        async with asyncio.timeout(60):
            while line := (await self._process.stderr.readline()).decode():
                self.said.append(line.rstrip("\n"))
                if text in line:
                    return line
        raise AssertionError(f"the service ended without saying {text!r}:\n" + "\n".join(self.said))

    async def greeting(self) -> Any:
        """The one object of `--json`."""
        assert self._process.stdout is not None
        async with asyncio.timeout(60):
            return json.loads(await self._process.stdout.readline())

    async def signalled(self, sig: signal.Signals) -> Result:
        """Sends a signal and waits for the end."""
        self._process.send_signal(sig)
        async with asyncio.timeout(60):
            out, err = await self._process.communicate()
        assert self._process.returncode is not None
        return Result(self._process.returncode, out.decode(), err.decode())
