"""The history that outlives the process: what writes it, what keeps it small, and what is computed from it."""

from __future__ import annotations

from orchestrator.services.history.analytics import Analytics
from orchestrator.services.history.cleanup import Cleanup
from orchestrator.services.history.decisions import DecisionSampler
from orchestrator.services.history.recorder import Recorder

__all__ = ["Analytics", "Cleanup", "DecisionSampler", "Recorder"]
