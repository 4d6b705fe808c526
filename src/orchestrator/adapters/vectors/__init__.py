"""Vectors in memory, with numpy where it is installed."""

from __future__ import annotations

from orchestrator.adapters.vectors.vectors import PLAIN_MOST, new_index

__all__ = ["PLAIN_MOST", "new_index"]
