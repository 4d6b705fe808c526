"""`orchestrator mcp`."""

from __future__ import annotations

import asyncio
import signal
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cyclopts import App

from orchestrator import __version__
from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.confirm import confirm
from orchestrator.entrypoints.cli.connection import Connection, api_key, segment
from orchestrator.entrypoints.cli.failure import CommandFailed, WrongUsage
from orchestrator.entrypoints.cli.nodes import done
from orchestrator.entrypoints.cli.options import HERE, Remote, Yes
from orchestrator.settings import loopback

mcp = App(name="mcp", help="The Model Context Protocol: this service as a server, and the servers that it uses.")

SERVERS = "/api/v1/mcp/servers"
COLUMNS = ("name", "transport", "state", "tools", "resources", "prompts", "protocol", "address", "error")
TOOL_COLUMNS = ("name", "side effect", "description")
RESOURCE_COLUMNS = ("uri", "name", "type", "bytes")
PROMPT_COLUMNS = ("name", "arguments", "description")
PAGE = 1_000
PATIENCE = 60.0  # seconds for what the service asks another server


@mcp.command
def serve(*, remote: Remote = HERE) -> None:
    """Be an MCP server on standard input and output: the service's tools, and its artifacts as resources. Programs that
    use MCP start this command; nothing but the protocol is written to standard output.

    Examples: `orchestrator mcp serve`, `orchestrator mcp serve --url http://10.0.0.5:9000 --api-key-file key.txt`
    """
    try:
        stdio = import_module("orchestrator.entrypoints.mcp.stdio")
    except ImportError:
        raise CommandFailed("The package mcp is not installed.", hint="Install orchestrator[mcp].") from None
    with Connection(remote) as connection:
        connection.get(SERVERS)  # an address or a key that is wrong is told now
    headers = {"User-Agent": f"orchestrator-mcp/{__version__}"}
    if key := api_key(remote):
        headers["Authorization"] = f"Bearer {key}"
    host = urlsplit(connection.url).hostname or ""
    # Standard input is read by a thread that nothing can wake: Ctrl-C ends the process, and with it what is under way.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(stdio.serve(f"{connection.url}/mcp", headers, remote.timeout, not loopback(host)))


@mcp.command(name="servers")
def list_servers(*, remote: Remote = HERE) -> None:
    """List the MCP servers whose tools are used here.

    Examples: `orchestrator mcp servers`, `orchestrator mcp servers --json`
    """
    with Connection(remote) as connection:
        found = connection.get(SERVERS)["servers"]
    if remote.json:
        output.print_json(found)
    else:
        output.print_table(COLUMNS, [_row(one) for one in found], "There are no MCP servers.")


@mcp.command(name="tools")
def list_tools(server: str, /, *, remote: Remote = HERE) -> None:
    """List the tools of a server, under the names by which `orchestrator tools call` calls them.

    Examples: `orchestrator mcp tools github`, `orchestrator mcp tools github --json`

    Parameters
    ----------
    server
        Name of the server.
    """
    found = _all(remote, f"{SERVERS}/{segment(server)}/tools", "tools")
    rows = [(one["name"], one["side_effect"], _line(one["description"])) for one in found]
    _print(remote, found, TOOL_COLUMNS, rows, "It has no tools.")


@mcp.command(name="resources")
def list_resources(server: str, uri: str = "", /, *, remote: Remote = HERE) -> None:
    """List the resources of a server; with a URI, print that resource.

    Examples: `orchestrator mcp resources docs`, `orchestrator mcp resources docs file:///readme.md`

    Parameters
    ----------
    server
        Name of the server.
    uri
        Resource to read.
    """
    path = f"{SERVERS}/{segment(server)}/resources"
    if uri:
        with Connection(_patient(remote)) as connection:
            contents = connection.get(f"{path}/read", uri=uri)["contents"]
        if remote.json:
            output.print_json(contents)
        else:
            output.print_text("\n".join(one.get("text") or one.get("blob", "") for one in contents))
        return
    found = _all(remote, path, "resources")
    rows = [(one["uri"], one.get("name"), one.get("mimeType"), one.get("size")) for one in found]
    _print(remote, found, RESOURCE_COLUMNS, rows, "It has no resources.")


@mcp.command(name="prompts")
def list_prompts(server: str, name: str = "", /, *, arg: tuple[str, ...] = (), remote: Remote = HERE) -> None:
    """List the prompts of a server; with a name, print that prompt.

    Examples: `orchestrator mcp prompts docs`, `orchestrator mcp prompts docs review --arg file=main.py`

    Parameters
    ----------
    server
        Name of the server.
    name
        Prompt to print.
    arg
        NAME=VALUE, an argument of the prompt.
    """
    path = f"{SERVERS}/{segment(server)}/prompts"
    if name:
        body = {"arguments": _pairs(arg, "--arg")}
        with Connection(_patient(remote)) as connection:
            found = connection.call("POST", f"{path}/{segment(name)}", body)
        if remote.json:
            output.print_json({"description": found["description"], "messages": found["messages"]})
        else:
            output.print_text("\n".join(f"{one['role']}: {_words(one['content'])}" for one in found["messages"]))
        return
    prompts = _all(remote, path, "prompts")
    rows = [(one["name"], _names(one), _line(one.get("description"))) for one in prompts]
    _print(remote, prompts, PROMPT_COLUMNS, rows, "It has no prompts.")


@mcp.command
def add(name: str, address: str, /, *, header_file: Path | None = None, remote: Remote = HERE) -> None:
    """Add a server that speaks streamable HTTP. Servers that are commands stand in the configuration
    (`tools.mcp_servers`) only.

    Examples: `orchestrator mcp add docs https://docs.example.com/mcp`,
    `orchestrator mcp add docs https://docs.example.com/mcp --header-file headers.txt`

    Parameters
    ----------
    name
        a-z, 0-9 and '-'.
    address
        http or https URL of the server.
    header_file
        File with headers to send, a `Name: value` on each line.
    """
    body = {"name": name, "url": address, "headers": _headers(header_file) if header_file is not None else {}}
    with Connection(_patient(remote)) as connection:
        found = connection.call("POST", SERVERS, body)["server"]
    done(remote, found, f"Added the MCP server '{name}'.")


@mcp.command
def remove(name: str, /, *, yes: Yes = False, remote: Remote = HERE) -> None:
    """Remove a server that was added by `add`.

    Examples: `orchestrator mcp remove docs --yes`

    Parameters
    ----------
    name
        Name of the server.
    yes
        Do not ask.
    """
    confirm(f"Remove the MCP server '{name}'?", yes)
    with Connection(remote) as connection:
        connection.call("DELETE", f"{SERVERS}/{segment(name)}")
    done(remote, {"name": name}, f"Removed the MCP server '{name}'.")


@mcp.command
def refresh(name: str, /, *, remote: Remote = HERE) -> None:
    """Read a server's lists now; connect now where it is not connected.

    Examples: `orchestrator mcp refresh docs`

    Parameters
    ----------
    name
        Name of the server.
    """
    with Connection(_patient(remote)) as connection:
        found = connection.call("POST", f"{SERVERS}/{segment(name)}/refresh")["server"]
    if found["state"] != "connected":
        raise CommandFailed(f"'{name}' is {found['state']}: {found['error']}", details={"server": found})
    done(remote, found, f"'{name}' has {found['tools']:,} tools.")


def _row(server: dict[str, Any]) -> tuple[Any, ...]:
    address = server["url"] or server["program"]
    return (*(server[name] for name in COLUMNS[:7]), address, server["error"])


def _all(remote: Remote, path: str, noun: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with Connection(remote) as connection:
        while True:
            page = connection.get(path, limit=PAGE, offset=len(found))
            found += page[noun]
            if not page[noun] or len(found) >= page["total"]:
                return found


def _print(
    remote: Remote, found: list[dict[str, Any]], columns: tuple[str, ...], rows: list[tuple[Any, ...]], empty: str
) -> None:
    if remote.json:
        output.print_json(found)
    else:
        output.print_table(columns, rows, empty)


def _patient(remote: Remote) -> Remote:
    return Remote(remote.json, remote.url, remote.api_key_file, max(remote.timeout, PATIENCE))


def _pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [name for name, equals, _ in pairs if not equals or not name]:
        raise WrongUsage(f"{option} {wrong[0]}: NAME=VALUE is needed")
    return {name: value for name, _, value in pairs}


def _headers(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"--header-file: {file} cannot be read: {error}") from None
    pairs = [line.partition(":") for line in lines if line.strip()]
    if any(not colon for _, colon, _ in pairs):
        raise WrongUsage("--header-file: a `Name: value` on each line")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _names(prompt: dict[str, Any]) -> str:
    return ", ".join(one["name"] + ("" if one.get("required") else "?") for one in prompt.get("arguments") or [])


def _line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0][:200]


def _words(content: dict[str, Any]) -> str:
    return str(content.get("text") or f"[{content.get('type')}]")
