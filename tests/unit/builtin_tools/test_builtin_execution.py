"""The tools `terminal` and `python-executor`: results, limits, and that nothing is left behind or leaks in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from builtin_calls import Caller

from orchestrator.adapters.commands import CommandProcesses
from orchestrator.adapters.commands.processes import LAUNCH
from orchestrator.domain.errors import Conflict, InvalidRequest, ToolFailed, ToolTimeout
from orchestrator.domain.tool import SideEffect, ToolStatus
from orchestrator.domain.tool_call import CallOrder
from orchestrator.services.builtin_tools.execution import PythonExecutor, Terminal

MEMORY = 512 << 20


@pytest.fixture
def commands(root: Path) -> CommandProcesses:
    return CommandProcesses(root, MEMORY)


@pytest.fixture
def terminal(commands: CommandProcesses) -> Caller:
    return Caller(Terminal(commands))


@pytest.fixture
def python(commands: CommandProcesses) -> Caller:
    return Caller(PythonExecutor(commands))


def marked(mark: str) -> list[str]:
    """Processes with a word in their command line."""
    found = []
    for name in os.listdir("/proc"):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if name.isdigit() and mark.encode() in line and b"pytest" not in line:
            found.append(name)
    return found


def comes(mark: str, wanted: bool) -> bool:
    """Whether such processes come up, or go, within some seconds."""
    end = time.monotonic() + 10
    while bool(marked(mark)) is not wanted and time.monotonic() < end:
        time.sleep(0.02)
    return bool(marked(mark)) is wanted


async def test_terminal(terminal: Caller) -> None:
    found = await terminal(command="echo out; echo err >&2; exit 3")
    assert (found["stdout"], found["stderr"], found["return_code"], found["success"]) == ("out\n", "err\n", 3, False)
    assert 0 < found["execution_time"] < 10
    assert (await terminal(command=["echo", "$HOME", ";", "ls"]))["stdout"] == "$HOME ; ls\n"
    assert (await terminal(command="echo x", capture_output=False))["stdout"] == ""
    assert (await terminal(command=["no-such-program"]))["return_code"] == 127
    assert (await terminal(command="kill -9 $$"))["return_code"] == 137
    assert (await terminal(command="cat"))["stdout"] == ""  # there is no standard input


async def test_python(python: Caller) -> None:
    found = await python(code="import json\nprint('first')\nprint(json.dumps({'n': [1, 2]}))")
    assert found["result"] == {"n": [1, 2]}
    assert found["stdout"] == 'first\n{"n": [1, 2]}\n'
    assert (await python(code="print([1,\n2])"))["result"] == [1, 2]
    assert (await python(code="print('words')"))["result"] is None
    failed = await python(code="1/0")
    assert (failed["return_code"], failed["success"]) == (1, False)
    assert "ZeroDivisionError" in failed["stderr"]


async def test_where_it_runs(terminal: Caller, root: Path) -> None:
    (root / "work").mkdir()
    await terminal(command="echo kept > note.txt", working_dir="work")
    assert (root / "work" / "note.txt").read_text() == "kept\n"
    where = (await terminal(command="pwd; ls -A | wc -l; touch x; mkdir -p a/b; chmod 000 a"))["stdout"].split()
    assert where[1] == "0"
    assert not os.access(where[0], os.F_OK)
    (root / "way").symlink_to("/etc")
    for folder in ("../etc", "/etc", "way", "work/../..", "nowhere"):
        with pytest.raises(InvalidRequest):
            await terminal(command="pwd", working_dir=folder)


async def test_the_services_environment_stays_its_own(
    terminal: Caller, python: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_SECRET", "sesame-open")
    shown = (await terminal(command="env; cat /proc/$PPID/environ; cat /proc/self/environ"))["stdout"]
    assert "sesame-open" not in shown
    names = {line.partition("=")[0] for line in (await terminal(command="env"))["stdout"].splitlines()}
    assert names <= {"PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"}
    # The environment that this process was begun with, and its memory.
    for part in ("environ", "mem", "maps"):
        code = f"print(open('/proc/{os.getpid()}/{part}', 'rb').read(100))"
        found = await python(code=code)
        assert "PermissionError" in found["stderr"], found


async def test_what_it_starts_does_not_outlive_it(terminal: Caller) -> None:
    mark = f"3{os.getpid()}.5"
    daemon = f"setsid sh -c 'setsid sleep {mark} & sleep {mark}' >/dev/null 2>&1 </dev/null & "
    found = await terminal(command=f"{daemon} sleep {mark} & sleep 0.2; echo done")
    assert found["stdout"] == "done\n"
    assert not marked(mark)
    with pytest.raises(ToolTimeout, match=r"within 0\.5 s"):
        await terminal(command=f"{daemon} sleep {mark}", timeout=0.5)
    assert not marked(mark)
    running = asyncio.create_task(terminal(command=f"{daemon} trap '' TERM; sleep {mark}"))
    assert await asyncio.to_thread(comes, mark, True)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(comes, mark, False)


async def test_one_that_is_cancelled_while_it_starts_is_ended_too(terminal: Caller) -> None:
    mark = f"4{os.getpid()}.5"
    for turns in range(0, 40, 2):
        starting = asyncio.create_task(terminal(command=f"setsid sleep {mark} & sleep {mark}"))
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        starting.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await starting
    assert await asyncio.to_thread(comes, mark, False)


async def test_one_that_is_cancelled_before_its_start_is_known_is_ended_too(
    terminal: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, begun, known = asyncio.create_subprocess_exec, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await begin(*arguments, **options)
        begun.set()
        await known.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
    mark = f"6{os.getpid()}.5"
    starting = asyncio.create_task(terminal(command=f"setsid sleep {mark} & sleep {mark}"))
    await begun.wait()
    starting.cancel()
    await asyncio.sleep(0)
    known.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert await asyncio.to_thread(comes, mark, False)


def test_a_launcher_that_was_told_to_stop_before_it_began_ends_what_it_begins() -> None:
    mark = f"5{os.getpid()}.5"
    limits = {"memory": 1 << 30, "cpu_seconds": 60, "file_size": 1 << 20}
    order = {"arguments": ["sh", "-c", f"setsid sleep {mark} & sleep {mark}"], "parent": os.getpid(), **limits}
    launcher = subprocess.Popen(
        [sys.executable, "-I", "-S", LAUNCH, json.dumps(order)],
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}),
    )
    launcher.terminate()  # it waits for the launcher, as one does that comes before the launcher's fork
    assert launcher.wait(10) == 128 + signal.SIGKILL
    assert comes(mark, False)


async def test_output_is_bounded_and_the_command_goes_on(terminal: Caller) -> None:
    found = await terminal(command="head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2")
    assert (len(found["stdout"]), found["stdout_truncated"], found["stderr_truncated"]) == (1 << 20, True, False)
    assert found["stderr"] == "end\n"


async def test_limits_of_the_process(python: Caller, terminal: Caller) -> None:
    found = await python(code="x = bytearray(2 << 30)")
    assert "MemoryError" in found["stderr"]
    found = await python(code="import resource; print(list(resource.getrlimit(resource.RLIMIT_FSIZE)))")
    assert found["result"][0] <= 256 << 20
    start = time.monotonic()
    with pytest.raises(ToolTimeout):
        await terminal(command="while :; do :; done", timeout=0.5)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("command", ["a\0b", ["a", "b\0"]])
async def test_a_zero_character_is_refused(terminal: Caller, command: Any) -> None:
    with pytest.raises((InvalidRequest, ToolFailed)):
        await terminal(command=command)


async def test_while_off_they_say_what_turns_them_on() -> None:
    for made in (Terminal(None), PythonExecutor(None)):
        assert made.tool.status is ToolStatus.DISABLED
        assert made.tool.execution is not None
        assert made.tool.execution.side_effect is SideEffect.DANGEROUS
        assert "tools.execution" in (made.tool.description or "")
        with pytest.raises(Conflict, match=r"tools\.execution"):
            await made.run(CallOrder("call", made.tool, {"command": "id", "code": "1"}, "anna", 1, 30.0))
