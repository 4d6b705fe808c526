"""What the settings warn about, less what the command line itself uses."""

from __future__ import annotations

from orchestrator.entrypoints.cli.options import API_KEY_VARIABLE, URL_VARIABLE
from orchestrator.settings import Loaded

_OURS = tuple(f"unknown environment variable {name}" for name in (API_KEY_VARIABLE, URL_VARIABLE))


def operator_warnings(loaded: Loaded) -> list[str]:
    """A shell in which somebody uses the client commands has variables that the service does not know."""
    return [text for text in loaded.warnings if text.partition(":")[0] not in _OURS]
