"""Configurations of other gateways as ours, with a report of what became of each setting."""

from __future__ import annotations

from orchestrator.settings.importing.litellm import from_litellm
from orchestrator.settings.importing.ollama_orchestrator import from_ollama_orchestrator
from orchestrator.settings.importing.report import Finding, Imported, Outcome

__all__ = ["Finding", "Imported", "Outcome", "from_litellm", "from_ollama_orchestrator"]
