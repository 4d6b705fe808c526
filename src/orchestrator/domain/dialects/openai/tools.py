"""Tool definitions and choices in OpenAI's chat form, which Ollama shares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.domain.dialects.checks import as_list, as_object, as_text, unsupported
from orchestrator.domain.dialects.conversation import OutputFormat, Tool, ToolChoice
from orchestrator.domain.errors import InvalidRequest


def read_tools(value: Any) -> tuple[Tool, ...]:
    """`tools` of chat completions or of Ollama's chat."""
    if not value:
        return ()
    return tuple(_read_tool(item, f"tools[{i}]") for i, item in enumerate(as_list(value, "tools")))


def _read_tool(item: Any, where: str) -> Tool:
    item = as_object(item, where)
    kind = item.get("type", "function")
    if kind != "function":
        raise unsupported(f"{where}.type", f"tools of type {kind!r} work only on a node of their own dialect")
    return function(as_object(item.get("function"), f"{where}.function"), f"{where}.function")


def function(spec: dict[str, Any], where: str) -> Tool:
    """`{name, description, parameters, strict}`."""
    return Tool(
        name=as_text(spec.get("name"), f"{where}.name"),
        description=spec.get("description") or "",
        schema=as_object(spec.get("parameters") or {}, f"{where}.parameters"),
        strict=spec.get("strict"),
    )


def write_tools(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": write_function(tool)} for tool in tools]


def write_function(tool: Tool) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": tool.name}
    if tool.description:
        spec["description"] = tool.description
    spec["parameters"] = tool.schema or {"type": "object", "properties": {}}
    if tool.strict is not None:
        spec["strict"] = tool.strict
    return spec


def read_choice(choice: Any, parallel: bool | None) -> ToolChoice | None:
    """`tool_choice` with `parallel_tool_calls`, of chat completions or the Responses API."""
    if choice is None:
        return None if parallel is None else ToolChoice(parallel=parallel)
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise InvalidRequest(
                "'tool_choice' must be auto, none, required or a function", details={"param": "tool_choice"}
            )
        return ToolChoice(choice, parallel=parallel)
    choice = as_object(choice, "tool_choice")
    if choice.get("type") != "function":
        raise unsupported("tool_choice.type", "only a function can be chosen on a node of another dialect")
    name = choice.get("name") or (choice.get("function") or {}).get("name")
    return ToolChoice("tool", as_text(name, "tool_choice.function.name"), parallel)


def read_output(value: Any) -> OutputFormat | None:
    """`response_format` of chat completions."""
    if value is None:
        return None
    value = as_object(value, "response_format")
    kind = value.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return OutputFormat()
    if kind == "json_schema":
        spec = as_object(value.get("json_schema"), "response_format.json_schema")
        return json_schema(spec, "response_format.json_schema")
    raise InvalidRequest(
        "'response_format.type' must be text, json_object or json_schema",
        details={"param": "response_format.type"},
    )


def json_schema(spec: dict[str, Any], where: str) -> OutputFormat:
    """`{name, schema, description, strict}`."""
    return OutputFormat(
        schema=as_object(spec.get("schema"), f"{where}.schema"),
        name=spec.get("name") or "response",
        description=spec.get("description") or "",
        strict=spec.get("strict"),
    )


def write_output(output: OutputFormat) -> dict[str, Any]:
    if output.schema is None:
        return {"type": "json_object"}
    spec: dict[str, Any] = {"name": output.name, "schema": output.schema}
    if output.description:
        spec["description"] = output.description
    # Only OpenAI knows "not strict"; the other dialects always hold the model to the schema.
    spec["strict"] = True if output.strict is None else output.strict
    return {"type": "json_schema", "json_schema": spec}
