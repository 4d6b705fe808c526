"""The command line."""

from orchestrator.entrypoints.cli.application import app, main
from orchestrator.entrypoints.cli.runtime import Started

__all__ = ["Started", "app", "main"]
