"""This machine: its facts by psutil, and the processes on a data directory."""

from orchestrator.adapters.machine.psutil_machine import PsutilMachine
from orchestrator.adapters.machine.replica_place import ReplicaPlace

__all__ = ["PsutilMachine", "ReplicaPlace"]
