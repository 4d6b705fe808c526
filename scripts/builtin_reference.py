"""The page on the tools that come with the service, from the tools themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

ABOUT = """\
These tools come with the service: they need no registering, and [Tools](tools-api.md) calls them like any other, by
their name or as `builtin:NAME`. [Call tools](../how-to/call-tools.md) shows how.

What a tool gives is the `result` of its call; `success` and `error` are the call's. Files that it makes become
[artifacts](artifacts.md), which the call names under `artifacts`.

**Paths** are below one folder, `tools.root`, and everybody who may call tools sees all of it. Absolute paths, `..`,
backslashes, drive letters, control characters and letters that look like dots are refused; links are never followed.
A file has at most `tools.max_file` bytes. `.orchestrator` at the top is the service's own.

**Artifacts** are read as the caller: the call's principal needs `artifacts.read`, and the result of another principal's
task is refused.

**Processes.** Archives, images, templates, PDFs and charts are worked on in a process of their own with 1 GiB of memory
and 120 s of processor time, at most four at a time; it ends with its call.

**Extras.** A tool whose library is not installed is listed as `DISABLED`, says what to install, and a call is refused
with 409: `pip install 'orchestrator[images,pdf,charts,web]'`.

**Data, web and commands.** [More about these tools](builtin-data-tools.md): the expressions of `data-processing`, what
`sql` allows, where a search goes, and what a command may do.

**Off at first.** `terminal`, `python-executor`, `sql` and `sql-write` are `DISABLED` until the operator turns them on;
their descriptions below say which settings do.

**MCP servers.** `mcp-server` and `mcp-resource` use the [servers](mcp.md) that the operator or the API has named; a
command in `server_config` is never started. `execute_tool` checks the arguments as the tool's own name does, and leaves
tools that are `dangerous` to it: `SERVER__TOOL` asks a person first.

**Not offered.** The predecessor's `image-generation`, `audio-processing` and `video-processing` made placeholders;
there is nothing behind them here. `pipeline-executor`, `recursion-control`, `checkpoint`, `auto_debugger` and what
chooses or advises models (`task-delegation`, `multi-model-routing`, `prompt-optimization`) need pipelines and agents,
which are not there yet. `filesystem` takes no bits for executing; templates have no `include_file`.
"""

EXAMPLES: dict[str, list[Mapping[str, Any]]] = {
    "filesystem": [
        {"action": "write", "path": "notes/today.md", "content": "# Today\n"},
        {"action": "list", "path": "notes", "limit": 10},
    ],
    "filesystem-read": [{"action": "read", "path": "notes/today.md"}],
    "archive": [
        {"action": "create", "sources": ["notes"], "path": "backup/notes.tar.gz"},
        {"action": "extract", "path": "backup/notes.tar.gz", "destination": "restored"},
    ],
    "template": [
        {"template": "{% for one in names %}\n- {{ one | upper }}\n{% endfor %}", "data": {"names": ["a", "b"]}}
    ],
    "report-generator": [
        {
            "title": "Tea",
            "query": "What is tea?",
            "search_results": [{"title": "Tea", "url": "https://example.org/tea", "snippet": "A drink."}],
            "extraction_results": [{"title": "Tea", "text": "Tea is a drink."}],
            "findings": ["It is a drink."],
            "output_path": "reports/tea.md",
        }
    ],
    "pdf-compiler": [{"markdown_content": "# Tea\n\nA **drink**.", "title": "Tea", "output_path": "reports/tea.pdf"}],
    "data-processing": [
        {
            "action": "transform",
            "data": "order,quantity,price\n007,2,3.5\n008,,12\n",
            "operations": [
                {"type": "fill_missing", "strategy": {"quantity": 1}},
                {"type": "calculate", "expressions": {"total": "quantity * price"}},
                {"type": "filter", "condition": "total > 5"},
            ],
            "output_format": "csv",
        },
        {
            "action": "aggregate",
            "data": "sales/2026.csv",
            "group_by": ["region"],
            "aggregations": {"sold": {"function": "sum", "column": "quantity"}, "price": "mean"},
        },
        {
            "action": "merge",
            "datasets": ["customers.json", "orders.csv"],
            "merge_strategy": "join",
            "join_on": "customer",
            "join_type": "left",
        },
    ],
    "validation": [
        {
            "data": {"id": "7", "sent": "yes"},
            "schema": {"type": "object", "properties": {"id": {"type": "integer"}, "sent": {"type": "boolean"}}},
            "mode": "lenient",
        },
        {
            "action": "extract_structured",
            "text": "Name: rope\nPrice: 3.50",
            "schema": {"type": "object", "properties": {"name": {"type": "string"}, "price": {"type": "number"}}},
        },
    ],
    "sql": [{"database": "shop", "query": "SELECT name FROM fruit WHERE price < ?", "parameters": [2]}],
    "sql-write": [{"database": "shop", "query": "UPDATE fruit SET price = ? WHERE id = ?", "parameters": [2, 7]}],
    "http-client": [{"url": "https://api.example.org/items", "method": "POST", "json": {"name": "rope"}}],
    "web-search": [{"query": "how to splice a rope", "max_results": 5}],
    "headless-browser": [{"action": "scrape", "url": "https://www.example.org/"}],
    "terminal": [{"command": ["wc", "-l", "orders.csv"], "working_dir": "sales", "timeout": 5}],
    "python-executor": [{"code": "import json\nprint(json.dumps({'sum': sum(range(10))}))"}],
    "image-analysis": [{"path": "pictures/a.jpg", "analysis_type": "colours"}],
    "image-processing": [
        {"action": "thumbnail", "image": "pictures/a.jpg", "width": 200, "height": 200, "format": "webp"}
    ],
    "visualization": [
        {
            "action": "create_charts",
            "data": [{"month": "2026-01-01", "sold": 3}, {"month": "2026-02-01", "sold": 5}],
            "chart_types": ["line"],
            "output_dir": "charts",
        }
    ],
    "mcp-memory": [{"action": "store", "key": "last", "value": {"id": 7}, "ttl": 3600}],
    "approval-gate": [{"title": "Send the letter?", "content": "Dear Anna, ...", "format": "text"}],
    "mcp-server": [
        {"action": "execute_tool", "server_name": "docs", "tool_name": "search", "tool_params": {"q": "tea"}}
    ],
    "mcp-resource": [{"action": "read", "uri": "file:///srv/docs/tea.md"}],
    "feedback-collection": [
        {
            "title": "The visit",
            "questions": ["What was good?", {"id": "stars", "text": "How good?", "type": "rating", "required": True}],
            "save_to_file": "answers/visit.json",
        }
    ],
    "user-prompt": [{"prompt": "Which colour?", "input_type": "choice", "choices": ["red", "blue"]}],
}


class Blank:
    """In place of the service's parts: the tools are described, never called."""

    def __getattr__(self, name: str) -> Blank:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Blank:
        return self


def tools() -> list[Any]:
    """All of them, as they are with every extra installed."""
    around = import_module("orchestrator.bootstrap.tool_parts").Surroundings
    blank: dict[str, Any] = {field.name: Blank() for field in fields(around)}
    blank["settings"] = import_module("orchestrator.settings").Settings()
    part = import_module("orchestrator.bootstrap.builtin_tools").build_builtins(around(**blank), Blank(), dict)
    source = import_module("orchestrator.domain.tool").ToolSource.BUILTIN
    return sorted(part.offers[source].tools().values(), key=lambda tool: (tool.category, tool.name))


def page(note: str) -> str:
    found = tools()
    rows = [f"| [`{one.name}`](#{one.name}) | {one.category} | {one.execution.side_effect} |" for one in found]
    lines = ["# Built-in tools", "", note, "", ABOUT, "| tool | category | side effect |", "|---|---|---|", *rows, ""]
    for tool in found:
        lines += _section(tool)
    return "\n".join(lines).rstrip() + "\n"


def _section(tool: Any) -> list[str]:
    execution = tool.execution
    approval = "" if execution.approval == "inherit" else f", approval {execution.approval}"
    told = f"Side effect {execution.side_effect}, at most {execution.timeout:g} s for one call{approval}."
    lines = [f"## {tool.name}", "", tool.description, "", told, ""]
    lines += ["| parameter | type | default | |", "|---|---|---|---|", *_parameters(tool.input_schema), ""]
    lines += _conditions(tool.input_schema)
    results = tool.output_schema.get("properties", {}) if tool.output_schema else {}
    if results:
        lines += [f"Result: {', '.join(f'`{name}` ({_type(schema)})' for name, schema in results.items())}.", ""]
    for example in EXAMPLES.get(tool.name, []):
        short = json.dumps(example, ensure_ascii=False)
        lines += [
            "```json",
            short if len(short) <= 110 else json.dumps(example, ensure_ascii=False, indent=2),
            "```",
            "",
        ]
    return lines


def _parameters(schema: Mapping[str, Any]) -> Iterable[str]:
    needed = schema.get("required", ())
    for name, one in schema.get("properties", {}).items():
        default = "required" if name in needed else f"`{json.dumps(one['default'])}`" if "default" in one else ""
        text = one.get("description", "").replace("|", "\\|").replace("\n", " ")
        yield f"| `{name}` | {_type(one)} | {default} | {text} |"


def _conditions(schema: Mapping[str, Any]) -> list[str]:
    """What else is needed with which action."""
    found = []
    for one in schema.get("allOf", ()):
        chosen = one.get("if", {}).get("properties", {}).get("action", {}).get("const")
        if chosen is not None:
            found.append(f"`{chosen}` needs {', '.join(f'`{name}`' for name in one['then']['required'])}")
    return [f"{'; '.join(found)}.", ""] if found else []


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return " or ".join(_type(one) for one in schema[several])
    kind = schema.get("type", "any")
    names = kind if isinstance(kind, list) else [kind]
    text = " or ".join(names)
    if "array" in names and isinstance(schema.get("items"), Mapping) and "enum" in schema["items"]:
        return f"{text} of {_type(schema['items'])}"
    return text
