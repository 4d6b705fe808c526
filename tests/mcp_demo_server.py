"""A real MCP server, made with the official SDK, that tests run as a process of its own.

    python tests/mcp_demo_server.py stdio
    python tests/mcp_demo_server.py http PORT

Tools are listed ten a page. `grow` adds a tool and says so; `MARK` names a file to which each call of `echo` and of
the doubling tools, each `sleep` and its being called off, adds a line.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.lowlevel.server import ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.shared.exceptions import MCPError

from doubling import NUMBER, TWICE

PAGE = 10
MANY = 25
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n not really an image").decode()
BLOB = base64.b64encode(bytes(range(16))).decode()
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
NOTHING: dict[str, Any] = {"type": "object"}
READS = types.ToolAnnotations(read_only_hint=True)
DESTROYS = types.ToolAnnotations(destructive_hint=True)

tools = [
    types.Tool(name="echo", description="Says it again", input_schema=TEXT, annotations=READS),
    types.Tool(name="double", description="Doubles", input_schema=NUMBER, output_schema=TWICE),
    types.Tool(
        name="guarded", description="Says it destroys", input_schema=NUMBER, output_schema=TWICE, annotations=DESTROYS
    ),
    types.Tool(name="wrong", description="Breaks its own schema", input_schema=NUMBER, output_schema=TWICE),
    types.Tool(name="refuse", description="Says no", input_schema=NOTHING),
    types.Tool(name="sleep", description="Sleeps", input_schema=NOTHING),
    types.Tool(name="vanish", description="Ends the server", input_schema=NOTHING),
    types.Tool(name="image", description="An image", input_schema=NOTHING),
    types.Tool(name="environment", description="Its variables", input_schema=NOTHING),
    types.Tool(name="grow", description="Adds a tool", input_schema=NOTHING),
    types.Tool(name="odd name/ä", description="Not a name of ours", input_schema=NOTHING),
    *(types.Tool(name=f"many-{number}", input_schema=NOTHING) for number in range(MANY)),
]
bus = InMemorySubscriptionBus()


def text(words: str) -> types.TextContent:
    return types.TextContent(text=words)


async def list_tools(
    context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    begin = int(params.cursor) if params is not None and params.cursor else 0
    after = begin + PAGE
    return types.ListToolsResult(
        tools=tools[begin:after], next_cursor=str(after) if after < len(tools) else None, ttl_ms=0, cache_scope="public"
    )


async def call_tool(context: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
    name, given = params.name, params.arguments or {}
    if name == "echo":
        note("echo")
        return types.CallToolResult(content=[text(str(given["text"]))])
    if name in ("double", "guarded"):
        note(str(given["number"]))
        made = {"twice": given["number"] * 2, "words": given.get("words", [])}
        return types.CallToolResult(content=[text(str(made["twice"]))], structured_content=made)
    if name == "wrong":
        return types.CallToolResult(content=[text("?")], structured_content={"twice": "two"})
    if name == "refuse":
        return types.CallToolResult(content=[text("it cannot be done")], is_error=True)
    if name == "sleep":
        return await sleep(context)
    if name == "vanish":
        os._exit(3)
    if name == "image":
        return types.CallToolResult(content=[text("here"), types.ImageContent(data=PNG, mime_type="image/png")])
    if name == "environment":
        return types.CallToolResult(content=[text("\n".join(sorted(os.environ)))], structured_content=dict(os.environ))
    if name == "grow":
        tools.append(types.Tool(name=f"grown-{len(tools)}", input_schema=NOTHING))
        await bus.publish(ToolsListChanged())
        await context.session.send_tool_list_changed()
        return types.CallToolResult(content=[text("grown")])
    raise MCPError(types.INVALID_PARAMS, f"no tool {name}")


async def sleep(context: ServerRequestContext[Any]) -> types.CallToolResult:
    note("sleeping")
    try:
        for step in range(300):
            await context.session.report_progress(step / 10, 30, "sleeping")
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    return types.CallToolResult(content=[text("rested")])


def note(what: str) -> None:
    if mark := os.environ.get("MARK"):
        with Path(mark).open("a") as file:
            file.write(f"{what}\n")


async def list_resources(context: ServerRequestContext[Any], params: object) -> types.ListResourcesResult:
    found = [
        types.Resource(name="notes", uri="demo://notes", mime_type="text/plain"),
        types.Resource(name="bytes", uri="demo://bytes"),
    ]
    return types.ListResourcesResult(resources=found, ttl_ms=0, cache_scope="public")


async def list_templates(context: ServerRequestContext[Any], params: object) -> types.ListResourceTemplatesResult:
    template = types.ResourceTemplate(name="any", uri_template="demo://{name}")
    return types.ListResourceTemplatesResult(resource_templates=[template], ttl_ms=0, cache_scope="public")


async def read_resource(
    context: ServerRequestContext[Any], params: types.ReadResourceRequestParams
) -> types.ReadResourceResult:
    if params.uri == "demo://notes":
        found: Any = types.TextResourceContents(uri=params.uri, text="remember", mime_type="text/plain")
    elif params.uri == "demo://bytes":
        found = types.BlobResourceContents(uri=params.uri, blob=BLOB)
    else:
        raise MCPError(types.INVALID_PARAMS, "no such resource")
    return types.ReadResourceResult(contents=[found], ttl_ms=0, cache_scope="public")


async def list_prompts(context: ServerRequestContext[Any], params: object) -> types.ListPromptsResult:
    asked = types.Prompt(name="greet", arguments=[types.PromptArgument(name="who", required=True)])
    return types.ListPromptsResult(prompts=[asked], ttl_ms=0, cache_scope="public")


async def get_prompt(context: ServerRequestContext[Any], params: types.GetPromptRequestParams) -> types.GetPromptResult:
    who = (params.arguments or {}).get("who", "nobody")
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=text(f"Greet {who}."))])


server: Server[Any] = Server(
    "demo",
    version="1.2.3",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_list_resources=list_resources,
    on_list_resource_templates=list_templates,
    on_read_resource=read_resource,
    on_list_prompts=list_prompts,
    on_get_prompt=get_prompt,
    on_subscriptions_listen=ListenHandler(bus),
)


async def by_stdio() -> None:
    print("demo server is up", file=sys.stderr, flush=True)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options(NotificationOptions(tools_changed=True)))


def main() -> None:
    if sys.argv[1] == "stdio":
        asyncio.run(by_stdio())
    else:
        uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")


if __name__ == "__main__":
    main()
