"""Functions as tools: what they return and raise, and what ends them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.callables import CallProcesses
from orchestrator.domain.errors import InvalidRequest, ToolCrashed, ToolFailed
from orchestrator.domain.tool import Execution, SideEffect, Tool, ToolKind, ToolSource
from orchestrator.domain.tool_call import CallOrder
from orchestrator.ports.callables import ProcessLimits
from orchestrator.services.tool_calls.python_tool import PythonTool, RegisteredFunction
from task_load import until

MODULE = "tool_functions"
CAP_SYS_RESOURCE = 24
LIMITS = ProcessLimits(environment={"PYTHONPATH": str(Path(__file__).parent)})


@pytest.fixture
async def processes() -> AsyncIterator[CallProcesses]:
    found = CallProcesses()
    yield found
    await found.close()


def registered(name: str, **limits: Any) -> RegisteredFunction:
    execution = Execution(ToolKind.PYTHON, side_effect=SideEffect.READ)
    return RegisteredFunction(f"{MODULE}:{name}", execution, replace(LIMITS, **limits))


async def called(processes: CallProcesses, function: str, arguments: dict[str, Any], **limits: Any) -> Any:
    runner = PythonTool(processes, {function: registered(function, **limits)})
    return (await runner.run(order(runner.tools()[function], arguments))).result


def order(tool: Tool, arguments: dict[str, Any]) -> CallOrder:
    return CallOrder("call-1", tool, arguments, "me", 1, 30.0)


async def test_a_function_gets_its_arguments_by_name(processes: CallProcesses) -> None:
    assert await called(processes, "add", {"a": 2, "b": 3.5}) == 5.5
    assert await called(processes, "later", {"text": "soon"}) == "SOON"


async def test_each_call_has_a_process_of_its_own(processes: CallProcesses) -> None:
    first = await called(processes, "process_id", {})
    assert first != await called(processes, "process_id", {})
    assert first != os.getpid()


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [
        ("refuse", {"why": "not today"}, "ValueError: not today"),
        ("add", {"a": 1}, "TypeError"),
        ("unspeakable", {}, "not JSON"),
        ("no_such", {}, "cannot be loaded"),
        ("ask", {}, "EOFError"),
    ],
)
async def test_what_a_function_raises_is_its_no(
    processes: CallProcesses, function: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ToolFailed, match=said):
        await called(processes, function, arguments)


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [("leave", {"status": 3}, "status 3: the last words"), ("crash", {}, "SIGSEGV")],
)
async def test_the_end_of_its_process_is_a_crash(
    processes: CallProcesses, function: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ToolCrashed, match=said):
        await called(processes, function, arguments)
    assert await called(processes, "add", {"a": 1, "b": 1}) == 2


async def test_a_function_sees_no_secret_of_the_service(
    processes: CallProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_AUTH__KEYS", "a secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    seen = await called(processes, "surroundings", {}, environment={**LIMITS.environment, "MY_OWN": "1"})
    assert seen["MY_OWN"] == "1"
    assert "ORCHESTRATOR_AUTH__KEYS" not in seen
    assert "AWS_SECRET_ACCESS_KEY" not in seen


async def test_memory_files_and_sizes_are_limited(processes: CallProcesses, tmp_path: Path) -> None:
    assert await called(processes, "allocate", {"megabytes": 8}, memory=512 << 20) == 8 << 20
    with pytest.raises(ToolFailed, match="MemoryError"):
        await called(processes, "allocate", {"megabytes": 600}, memory=512 << 20)
    with pytest.raises(ToolFailed, match="Too many open files"):
        await called(processes, "many_files", {"count": 100}, open_files=50)
    with pytest.raises(ToolFailed, match="File too large"):
        await called(processes, "write", {"path": str(tmp_path / "file"), "megabytes": 2}, file_size=1 << 20)
    with pytest.raises(ToolFailed, match="the result has"):
        await called(processes, "long_text", {"size": 100_000}, output=10_000)


async def test_processor_time_is_limited(processes: CallProcesses) -> None:
    with pytest.raises(ToolCrashed, match=r"SIG(XCPU|KILL)"):
        await called(processes, "spin", {}, cpu_seconds=1)


async def test_a_function_cannot_raise_its_limits(processes: CallProcesses) -> None:
    assert await called(processes, "raise_limits", {}) == ("raised" if _may_raise() else "ValueError")


def _may_raise() -> bool:
    rights = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(rights.split()[1], 16) >> CAP_SYS_RESOURCE & 1)


async def test_what_is_printed_goes_nowhere_and_blocks_nothing(processes: CallProcesses) -> None:
    assert await called(processes, "chatter", {"megabytes": 20}) == "done"


async def test_what_a_function_leaves_behind_ends_with_its_call(processes: CallProcesses, tmp_path: Path) -> None:
    path = tmp_path / "late"
    assert await called(processes, "linger", {"path": str(path)}) == "left"
    await asyncio.sleep(1.3)  # nothing tells that something does not happen
    assert not path.exists()


async def test_a_cancelled_call_ends_with_all_it_began(processes: CallProcesses, tmp_path: Path) -> None:
    path = tmp_path / "begun"
    call = asyncio.create_task(called(processes, "hang", {"path": str(path)}))
    await until(lambda: path.exists() and len(path.read_text().split()) == 2)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until(lambda: not any(_runs(int(number)) for number in path.read_text().split()))


SERVICE = """
import asyncio, sys
from orchestrator.adapters.callables import CallProcesses
from orchestrator.ports.callables import ProcessLimits
limits = ProcessLimits(environment={"PYTHONPATH": sys.argv[2]})
asyncio.run(CallProcesses().call("tool_functions:hang", sys.argv[1].encode(), limits))
"""


async def test_a_function_ends_with_a_service_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "begun"
    argument = json.dumps({"path": str(path)})
    folder = LIMITS.environment["PYTHONPATH"]
    service = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVICE, argument, folder)
    await until(lambda: path.exists() and len(path.read_text().split()) == 2)
    function, started = (int(number) for number in path.read_text().split())
    service.kill()
    await service.wait()
    try:
        await until(lambda: not _runs(function))
    finally:
        os.kill(started, signal.SIGKILL)  # what the function itself has started is its own business


def _runs(number: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_functions_are_tools_by_themselves() -> None:
    found = replace(registered("add"), description="Adds.", input_schema={"type": "object"})
    tool = PythonTool(CallProcesses(), {"add-numbers": found}).tools()["add-numbers"]
    assert (tool.name, tool.tool_id, tool.source, tool.description) == (
        "add-numbers",
        "add-numbers",
        ToolSource.CONFIG,
        "Adds.",
    )
    assert tool.execution is not None
    assert (tool.execution.kind, tool.execution.side_effect) == (ToolKind.PYTHON, SideEffect.READ)


@pytest.mark.parametrize(
    "binding",
    [
        {"function": "os:system"},
        {"function": f"{MODULE}:add"},
        {"function": ""},
        {},
        {"function": "add", "module": "os"},
        {"function": ["add"]},
    ],
)
def test_only_a_name_of_the_operators_list_leads_to_code(binding: dict[str, Any]) -> None:
    runner = PythonTool(CallProcesses(), {"add": registered("add")})
    tool = replace(runner.tools()["add"], execution=Execution(ToolKind.PYTHON, binding))
    with pytest.raises(InvalidRequest, match=r"execution\.binding"):
        runner.check(tool)
