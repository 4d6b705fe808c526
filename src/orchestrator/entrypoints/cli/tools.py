"""`orchestrator tools`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cyclopts import App

from orchestrator.entrypoints.cli import output, tool_calls
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed, Refused, WrongUsage
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Flag, Remote, Yes
from orchestrator.entrypoints.cli.schedules import moment
from orchestrator.entrypoints.cli.tool_arguments import arguments_of
from orchestrator.entrypoints.cli.tool_calls import TOOLS, Pairs, tool_path
from orchestrator.settings.document import read

tools = App(name="tools", help="Tools: what there is to call, calling it, and what became of calls.")
tools.command(tool_calls.call)
tools.command(tool_calls.calls)
tools.command(tool_calls.call_status)
tools.command(tool_calls.cancel)

COLUMNS = ("name", "kind", "side effect", "category", "status", "source", "description")


@tools.command(name="list")
def list_tools(
    words: str = "",
    /,
    *,
    tag: str | None = None,
    category: str | None = None,
    kind: str | None = None,
    source: str | None = None,
    side_effect: str | None = None,
    status: str | None = None,
    limit: int = 200,
    skip: int = 0,
    remote: Remote = HERE,
) -> None:
    """List tools by name: those of the service, its configuration and MCP servers first, then the registry's.

    For example:

    - `orchestrator tools list`
    - `orchestrator tools list "read file" --source builtin`
    - `orchestrator tools list --kind http --status ENABLED --json`

    Parameters
    ----------
    words
        Words that all occur in name, category, description or tags.
    tag
        Part of a tag.
    category
        Of exactly this category.
    kind
        http, mcp, python, container, builtin, pipeline or agent.
    source
        registry, builtin, config or mcp.
    side_effect
        read, write, external or dangerous.
    status
        ENABLED, DISABLED or DEPRECATED.
    limit
        At most so many, 1 to 1,000.
    skip
        How many to leave out first.
    """
    filters = {"tag": tag, "category": category, "kind": kind, "source": source, "side_effect": side_effect}
    with Connection(remote) as connection:
        answer = connection.get(TOOLS, **filters, q=words or None, status=status, limit=limit, skip=skip)
    if remote.json:
        output.print_json({"tools": answer["tools"], "total": answer["total"]})
        return
    output.print_table(COLUMNS, [row(one) for one in answer["tools"]], "There are no such tools.")
    shown = len(answer["tools"])
    if shown < answer["total"]:
        output.say(f"{shown:,} of {answer['total']:,}; --skip {skip + shown} shows more.", "dim")


@tools.command
def show(name: str, /, *, remote: Remote = HERE) -> None:
    """Show a tool with its schemas.

    Examples: `orchestrator tools show filesystem`, `orchestrator tools show builtin:filesystem --json`

    Parameters
    ----------
    name
        Id or name of the tool; SOURCE:NAME where several have the name.
    """
    with Connection(remote) as connection:
        tool = connection.get(tool_path(name))["tool"]
    if remote.json:
        output.print_json(tool)
        return
    execution = tool.pop("execution") or {"kind": None}
    schemas = {field: tool.pop(field) for field in ("input_schema", "output_schema")}
    times = {field: moment(tool[field]) for field in ("created_at", "updated_at")}
    output.print_fields({field.replace("_", " "): value for field, value in (tool | times | execution).items()})
    for field, schema in schemas.items():
        if schema is not None:
            output.print_text(f"\n{field.replace('_', ' ')}\n{json.dumps(schema, indent=2, ensure_ascii=False)}")


@tools.command
def validate(
    name: str,
    /,
    *,
    arg: Pairs = (),
    arg_json: Pairs = (),
    args_file: Path | None = None,
    remote: Remote = HERE,
) -> None:
    """Check arguments against a tool's input schema; nothing is called. Exit status 1 when they do not fit.

    Examples: `orchestrator tools validate filesystem --arg action=read --arg path=notes.txt`

    Parameters
    ----------
    name
        Id or name of the tool.
    arg
        NAME=VALUE, as the input schema has it; may be given several times.
    arg_json
        NAME=JSON; may be given several times.
    args_file
        File with an object of arguments (.json, .yaml), - for JSON on standard input.
    """
    with Connection(remote) as connection:
        schema = connection.get(tool_path(name))["tool"]["input_schema"] if arg else None
        arguments = arguments_of(arg, arg_json, args_file, schema)
        answer = connection.call("POST", f"{tool_path(name)}/validate", {"arguments": arguments})
    problems = answer["problems"]
    if problems:
        raise CommandFailed(told(problems), details={"valid": False, "problems": problems})
    done(remote, {"valid": True, "problems": []}, "The arguments fit.")


@tools.command
def register(file: Path, /, *, replace: Flag = False, remote: Remote = HERE) -> None:
    """Register the tools of a file; their ids are printed.

    The file has one tool or a list of them, or an object with `tools`, as `POST /api/v1/tools` takes them; `tags` may
    be there, too.

    For example:

    - `orchestrator tools register weather.yaml`
    - `orchestrator tools register tools.json --replace`

    Parameters
    ----------
    file
        The file (.json, .yaml).
    replace
        Change the tools whose names are there already.
    """
    done_so_far: list[dict[str, Any]] = []
    with Connection(remote) as connection:
        for tool in _tools_of(file):
            done_so_far.append(_registered(connection, dict(tool), replace))
    if remote.json:
        output.print_json(done_so_far)
    else:
        output.print_text("\n".join(one["tool_id"] for one in done_so_far))


@tools.command
def remove(name: str, /, *, yes: Yes = False, remote: Remote = HERE) -> None:
    """Remove a tool from the registry; its artifacts and calls stay.

    Examples: `orchestrator tools remove weather --yes`

    Parameters
    ----------
    name
        Id or name of the tool.
    yes
        Do not ask.
    """
    confirm(f"Remove the tool {name}?", yes)
    with Connection(remote) as connection:
        answer = connection.call("DELETE", tool_path(name))
    done(remote, {"tool_id": answer["tool_id"]}, f"Removed {name}.")


def told(problems: list[dict[str, Any]]) -> str:
    """Problems of arguments, one a line."""
    lines = [output.printable(f"{one.get('path') or '/'}: {one['message']}") for one in problems]
    return "The arguments do not fit:\n" + "\n".join(f"  {line}" for line in lines)


def row(tool: dict[str, Any]) -> tuple[Any, ...]:
    execution = tool["execution"] or {}
    text = (tool["description"] or "").partition("\n")[0]
    return (
        tool["name"],
        execution.get("kind"),
        execution.get("side_effect"),
        tool["category"],
        tool["status"],
        tool["source"],
        text if len(text) <= 80 else f"{text[:77]}...",
    )


def _tools_of(file: Path) -> list[dict[str, Any]]:
    data = dict(read(file, wrap="tools").data)
    found = data["tools"] if set(data) == {"tools"} else [data]
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) and "name" in one for one in found):
        raise WrongUsage(f"{file} has no tool: an object with name and category, or a list of them.")
    return found


def _registered(connection: Connection, tool: dict[str, Any], replace: bool) -> dict[str, Any]:
    tags = tool.pop("tags", None) or ()
    try:
        kept = connection.call("POST", TOOLS, tool)["tool"]
    except Refused as error:
        if error.answered != 409 or not replace:
            raise
        kept = connection.call("PUT", tool_path(f"registry:{tool['name']}"), tool)["tool"]
    for tag in tags:
        connection.call("POST", f"/tools/{kept['tool_id']}/tags/{segment(str(tag))}")
    return {"tool_id": kept["tool_id"], "name": kept["name"]}
