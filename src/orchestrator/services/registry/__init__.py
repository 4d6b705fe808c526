"""The registry of tools: nodes with their UUIDs, tools, tags, and questions over them."""

from __future__ import annotations

from orchestrator.services.registry.directory import Directory
from orchestrator.services.registry.tools import Tools

__all__ = ["Directory", "Tools"]
