"""Stores that forget at the end of the process: for tests, demonstrations and `memory://`."""

from __future__ import annotations

from orchestrator.adapters.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
