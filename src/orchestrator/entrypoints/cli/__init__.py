"""The command line."""

from orchestrator.entrypoints.cli.application import application, main
from orchestrator.entrypoints.cli.runtime import Started, Told

__all__ = ["Started", "Told", "application", "main"]
