"""Worker nodes: which there are, how they are, and what tasks have taught about them."""

from orchestrator.services.workers.registry import WorkerRules, Workers

__all__ = ["WorkerRules", "Workers"]
