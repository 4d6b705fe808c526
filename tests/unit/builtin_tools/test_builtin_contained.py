"""Commands in containers: what is ordered, and what comes of it. The engine here runs the order on this machine."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from builtin_calls import Caller

from orchestrator.domain.errors import InvalidRequest, ToolCrashed, ToolTimeout
from orchestrator.ports.containers import ContainerEnded, ContainerOrder
from orchestrator.services.builtin_tools.execution import PythonExecutor, Terminal
from orchestrator.services.builtin_tools.execution.contained import ContainedCommands


@dataclass
class HereContainers:
    """`Containers`."""

    folder: Path
    orders: list[ContainerOrder] = field(default_factory=list)
    out_of_memory: bool = False

    async def run(self, order: ContainerOrder) -> ContainerEnded:
        self.orders.append(order)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *order.command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=self.folder
        )
        try:
            stdout, stderr = await process.communicate(order.stdin)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        cut = len(stdout) > order.output
        return ContainerEnded(process.returncode or 0, stdout[: order.output], stderr, cut, self.out_of_memory)

    async def sweep(self, before: float) -> int:
        return 0

    async def close(self) -> None:
        return None


@pytest.fixture
def engine(tmp_path: Path) -> HereContainers:
    return HereContainers(tmp_path)


@pytest.fixture
def commands(engine: HereContainers) -> ContainedCommands:
    ids = itertools.count(1)
    return ContainedCommands(engine, "python:3", 64 << 20, lambda: str(next(ids)), time.time, time.monotonic)


async def test_what_is_ordered(engine: HereContainers, commands: ContainedCommands) -> None:
    found = await Caller(Terminal(commands))(command="echo out; echo err >&2; exit 4")
    assert (found["stdout"], found["stderr"], found["return_code"], found["success"]) == ("out\n", "err\n", 4, False)
    (order,) = engine.orders
    assert (order.image, order.network, order.read_only, order.memory) == ("python:3", False, True, 64 << 20)
    assert order.ends_at > time.time() + 30
    await Caller(Terminal(commands))(command=["echo", "a b"])
    assert engine.orders[1].command == ("echo", "a b")
    assert engine.orders[0].name != engine.orders[1].name


async def test_a_program_comes_as_a_file(commands: ContainedCommands) -> None:
    code = "import sys, json\nprint('x' + sys.stdin.read())\nprint(json.dumps({'file': __file__, 'quote': \"it's\"}))"
    found = await Caller(PythonExecutor(commands))(code=code)
    assert found["result"]["quote"] == "it's"
    assert found["result"]["file"].endswith("main.py")
    assert found["stdout"].startswith("x\n")


async def test_limits(engine: HereContainers, commands: ContainedCommands) -> None:
    terminal = Caller(Terminal(commands))
    with pytest.raises(ToolTimeout):
        await terminal(command="exec sleep 30", timeout=0.3)
    found = await terminal(command="head -c 2000000 /dev/zero")
    assert (len(found["stdout"]), found["stdout_truncated"]) == (1 << 20, True)
    with pytest.raises(InvalidRequest, match="working_dir"):
        await terminal(command="pwd", working_dir="work")
    engine.out_of_memory = True
    with pytest.raises(ToolCrashed, match="memory"):
        await terminal(command="true")
