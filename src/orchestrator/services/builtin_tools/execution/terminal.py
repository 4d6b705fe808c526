"""`terminal` and `python-executor`: off unless the operator turns them on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.tool import SideEffect, Tool, ToolStatus
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.commands import Command, Commands, Ended
from orchestrator.services.builtin_tools.offer import (
    FLAG,
    NUMBER,
    TEXT,
    Schema,
    described,
    fields,
    offered,
    results,
)

SETTING = "tools.execution"
TIMEOUT, MOST_SECONDS = 30.0, 600.0
MOST_CODE = 1_000_000  # characters
SCRIPT = "main.py"
_COMMON: dict[str, Schema] = {
    "timeout": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": MOST_SECONDS,
        "default": TIMEOUT,
        "description": "In seconds; then it is killed with all that it has started.",
    },
    "capture_output": described(FLAG, "Whether stdout and stderr come back.", default=True),
}
_RESULT: dict[str, Schema] = {
    "return_code": {"type": "integer"},
    "success": FLAG,
    "stdout": TEXT,
    "stderr": TEXT,
    "stdout_truncated": FLAG,
    "stderr_truncated": FLAG,
    "execution_time": NUMBER,
}


class _Execution:
    """What both tools do. `commands` is None while they are off."""

    def __init__(self, tool: Tool, commands: Commands | None) -> None:
        self._commands = commands
        if commands is None:
            words = f"{_off(tool.name)} {tool.description}"
            tool = replace(tool, status=ToolStatus.DISABLED, description=words)
        self.tool = tool

    def _ready(self) -> Commands:
        if self._commands is None:
            raise Conflict(_off(self.tool.name), details={"setting": SETTING})
        return self._commands

    @staticmethod
    def _timeout(order: CallOrder) -> float:
        return min(float(order.arguments.get("timeout", TIMEOUT)), order.timeout)

    @staticmethod
    def _told(order: CallOrder, ended: Ended) -> dict[str, Any]:
        shown = order.arguments.get("capture_output", True)
        return {
            "return_code": ended.status,
            "success": ended.status == 0,
            "stdout": _text(ended.stdout) if shown else "",
            "stderr": _text(ended.stderr) if shown else "",
            "stdout_truncated": ended.stdout_truncated,
            "stderr_truncated": ended.stderr_truncated,
            "execution_time": round(ended.seconds, 6),
        }


class Terminal(_Execution):
    """`BuiltinTool`."""

    def __init__(self, commands: Commands | None) -> None:
        tool = offered(
            "terminal",
            "execution",
            "Runs a command: a text by /bin/sh -c, a list as a program with its arguments. A status other than 0 is a "
            "result, not an error: look at success and return_code.",
            SideEffect.DANGEROUS,
            fields(
                {
                    "command": {
                        "type": ["string", "array"],
                        "items": TEXT,
                        "minLength": 1,
                        "minItems": 1,
                        "maxLength": 20_000,
                        "description": "The command.",
                    },
                    "working_dir": described(
                        TEXT,
                        "Folder below the tools' folder; '.' is its top. Without it an empty folder that is gone "
                        "afterwards.",
                    ),
                    **_COMMON,
                },
                ("command",),
            ),
            results({"command": {"type": ["string", "array"]}, "working_dir": TEXT, **_RESULT}, ("command", *_RESULT)),
            MOST_SECONDS,
        )
        super().__init__(tool, commands)

    async def run(self, order: CallOrder) -> CallOutcome:
        commands, given = self._ready(), order.arguments
        command = given["command"]
        arguments = ("/bin/sh", "-c", command) if isinstance(command, str) else tuple(command)
        if any("\0" in one for one in arguments):
            raise InvalidRequest("command: has a zero character", details={"field": "command"})
        folder = given.get("working_dir")
        ended = await commands.run(Command(arguments, self._timeout(order), folder))
        return CallOutcome({"command": command, "working_dir": folder or "", **self._told(order, ended)})


class PythonExecutor(_Execution):
    """`BuiltinTool`."""

    def __init__(self, commands: Commands | None) -> None:
        tool = offered(
            "python-executor",
            "execution",
            "Runs a Python program in an empty folder. What it prints comes back; where all of it, or its last line, "
            "is JSON, that value is the result.",
            SideEffect.DANGEROUS,
            fields({"code": described(TEXT, "The program.", minLength=1, maxLength=MOST_CODE), **_COMMON}, ("code",)),
            results({"code": TEXT, "result": {}, **_RESULT}, ("code", "result", *_RESULT)),
            MOST_SECONDS,
        )
        super().__init__(tool, commands)

    async def run(self, order: CallOrder) -> CallOutcome:
        commands, code = self._ready(), order.arguments["code"]
        files = {SCRIPT: code.encode("utf-8", "surrogatepass")}
        arguments = (commands.python, "-I", "-B", SCRIPT)
        ended = await commands.run(Command(arguments, self._timeout(order), files=files))
        return CallOutcome({"code": code, "result": printed(ended.stdout), **self._told(order, ended)})


def printed(stdout: bytes) -> Any:
    """The JSON value that was printed: the whole output, or its last line; None where neither is one."""
    text = _text(stdout).strip()
    for part in (text, text.rpartition("\n")[2]):
        try:
            return json.loads(part, parse_constant=_refused)
        except (ValueError, RecursionError):
            continue
    return None


def _refused(name: str) -> None:
    raise ValueError(name)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _off(name: str) -> str:
    return f"{name} is off: the operator has not turned it on ({SETTING}: process or container)."
