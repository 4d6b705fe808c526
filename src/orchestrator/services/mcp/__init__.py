"""Servers of the Model Context Protocol whose tools, resources and prompts are used here."""

from orchestrator.services.mcp.peer import McpRules, Peer
from orchestrator.services.mcp.runner import McpRunner
from orchestrator.services.mcp.servers import McpServers

__all__ = ["McpRules", "McpRunner", "McpServers", "Peer"]
