"""Python functions in processes of their own."""

from orchestrator.adapters.callables.processes import CallProcesses

__all__ = ["CallProcesses"]
