"""Calls of tools: which tools there are, who may call them, and what became of it."""

from __future__ import annotations

from orchestrator.services.tool_calls.builtins import Builtins
from orchestrator.services.tool_calls.calls import Calls
from orchestrator.services.tool_calls.catalogue import Catalogue
from orchestrator.services.tool_calls.rules import CallRules

__all__ = ["Builtins", "CallRules", "Calls", "Catalogue"]
