"""This machine, by psutil."""

from orchestrator.adapters.machine.psutil_machine import PsutilMachine

__all__ = ["PsutilMachine"]
