"""The SDK's models as values of ours."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from pydantic import BaseModel

from orchestrator.domain.mcp import McpAbout, McpAnswer, McpFile, McpTool

BINARY = "application/octet-stream"


def plain(model: BaseModel) -> dict[str, Any]:
    """As the protocol writes it."""
    found: dict[str, Any] = model.model_dump(by_alias=True, mode="json", exclude_none=True)
    return found


def about(
    info: types.Implementation | None,
    capabilities: types.ServerCapabilities | None,
    protocol: str | None,
    instructions: str | None,
) -> McpAbout:
    offers = frozenset(
        name for name in ("tools", "resources", "prompts") if getattr(capabilities, name, None) is not None
    )
    return McpAbout(
        name=info.name if info is not None else "",
        version=info.version if info is not None else "",
        protocol=protocol or "",
        instructions=instructions,
        offers=offers,
    )


def tool(found: types.Tool) -> McpTool:
    hints = found.annotations
    return McpTool(
        name=found.name,
        description=found.description or found.title,
        input_schema=found.input_schema,
        output_schema=found.output_schema,
        read_only=hints.read_only_hint if hints is not None else None,
        destructive=hints.destructive_hint if hints is not None else None,
    )


def call_answer(found: types.CallToolResult) -> McpAnswer:
    files: list[McpFile] = []
    blocks = tuple(_block(plain(block), files) for block in found.content)
    has = "structured_content" in found.model_fields_set and found.structured_content is not None
    return McpAnswer(found.is_error, blocks, found.structured_content, has, tuple(files))


def _block(block: dict[str, Any], files: list[McpFile]) -> Mapping[str, Any]:
    """A content block with its bytes put into `files`."""
    kind = block.get("type")
    if kind in ("image", "audio"):
        return _without(block, block, "data", f"{kind}-{len(files) + 1}", files)
    if kind == "resource" and "blob" in block["resource"]:
        resource = block["resource"]
        name = str(resource.get("uri", "")).rstrip("/").rpartition("/")[2] or f"resource-{len(files) + 1}"
        return {**block, "resource": _without(resource, block, "blob", name, files)}
    return block


def _without(
    holder: Mapping[str, Any], block: Mapping[str, Any], field: str, name: str, files: list[McpFile]
) -> dict[str, Any]:
    try:
        content = base64.b64decode(holder[field], validate=True)
    except (binascii.Error, ValueError):
        return dict(holder)
    files.append(McpFile(holder.get("mimeType") or BINARY, content, name))
    kept = {key: value for key, value in holder.items() if key != field}
    return {**kept, "file": len(files) - 1}
