"""The command line."""

from orchestrator.entrypoints.cli.application import app, main
from orchestrator.entrypoints.cli.runtime import Started, Told

__all__ = ["Started", "Told", "app", "main"]
