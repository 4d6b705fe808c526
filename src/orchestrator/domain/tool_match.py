"""Whether a tool is one of those that are asked for, and in which order they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.domain.searched import tool_text
from orchestrator.domain.text_search import fits, read_search, relevance
from orchestrator.domain.tool import Tool, ToolOrder, ToolQuery, folded


def is_wanted(tool: Tool, wanted: ToolQuery) -> bool:
    """Everything that the query gives, but its source."""
    execution = tool.execution
    pairs = (
        (wanted.status, tool.status),
        (wanted.name, tool.name),
        (wanted.category, tool.category),
        (wanted.node, tool.target_node_id),
        (wanted.kind, execution.kind if execution else None),
        (wanted.side_effect, execution.side_effect if execution else None),
    )
    if any(value is not None and value != own for value, own in pairs):
        return False
    if wanted.unplaced and tool.target_node_id is not None:
        return False
    if wanted.tag is not None and not _tagged(tool, wanted.tag):
        return False
    schemas = ((wanted.input_property, tool.input_schema), (wanted.output_property, tool.output_schema))
    if not all(name is None or _has_property(schema, name) for name, schema in schemas):
        return False
    search = read_search(wanted.text)
    return search is None or fits(search, tool_text(tool))


def in_order(tools: Iterable[Tool], order: ToolOrder, text: str = "") -> list[Tool]:
    """`text` is that of the query, for the order of relevance; equally relevant ones come newest first."""
    match order:
        case ToolOrder.RELEVANCE:
            search = read_search(text)
            newest = list(tools)[::-1]
            return sorted(newest, key=lambda tool: relevance(search, tool_text(tool).title)) if search else newest
        case ToolOrder.NAME:
            return sorted(tools, key=lambda tool: tool.name)
        case ToolOrder.CATEGORY:
            return sorted(tools, key=lambda tool: (tool.category, tool.name))
        case ToolOrder.CREATED:
            return sorted(tools, key=lambda tool: (tool.created_at, tool.tool_id))


def _tagged(tool: Tool, part: str) -> bool:
    return any(folded(part) in folded(tag) for tag in tool.tags)


def _has_property(schema: Mapping[str, object] | None, name: str) -> bool:
    properties = (schema or {}).get("properties")
    return isinstance(properties, Mapping) and name in properties
