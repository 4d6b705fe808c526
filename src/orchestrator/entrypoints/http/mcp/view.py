"""MCP servers as the API shows them. What may be secret is not shown: values of headers and variables, arguments."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.tool import Tool
from orchestrator.services.mcp import Peer
from orchestrator.settings.mask import mask_url


def server_view(peer: Peer, now: float) -> dict[str, Any]:
    server, about, offer = peer.server, peer.about, peer.offer
    peer.breaker.tick(now)
    return {
        "name": server.name,
        "node_id": server.node_id,
        "origin": server.origin.value,
        "transport": server.transport,
        "url": mask_url(server.url) if server.url else None,
        "program": server.command[0] if server.command else None,
        "headers": sorted(server.headers),
        "variables": sorted(server.env),
        "trust_annotations": server.trust_annotations,
        "state": peer.state.value,
        "error": peer.error or None,
        "server": {"name": about.name, "version": about.version, "instructions": about.instructions},
        "protocol": about.protocol or None,
        "tools": len(peer.tools),
        "resources": len(offer.resources),
        "templates": len(offer.templates),
        "prompts": len(offer.prompts),
        "connections": peer.connections,
        "calls": peer.calls,
        "connected_at": peer.connected_at or None,
        "refreshed_at": peer.refreshed_at or None,
        "retry_at": peer.retry_at or None,
        "breaker": {
            "state": peer.breaker.state.value,
            "reason": peer.breaker.reason or None,
            "time_left": peer.breaker.time_left(now),
            "failures": peer.breaker.failure_total,
        },
    }


def tool_view(tool: Tool) -> dict[str, Any]:
    execution = tool.execution
    return {
        "name": tool.name,
        "tool": execution.binding["tool"] if execution is not None else None,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "side_effect": execution.side_effect.value if execution is not None else None,
    }
