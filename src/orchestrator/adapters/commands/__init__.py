"""Commands as processes of this machine."""

from orchestrator.adapters.commands.processes import CommandProcesses

__all__ = ["CommandProcesses"]
