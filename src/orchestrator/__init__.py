"""Orchestrator: one service that runs AI work on a fleet."""

__version__ = "0.1.0"
