"""Puts together the registry of tools."""

from __future__ import annotations

from uuid import uuid4

from orchestrator.ports.store import Storage
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.registry import Registry
from orchestrator.services.registry import Directory, Tools
from orchestrator.services.workers import Workers


def new_id() -> str:
    return str(uuid4())


def build_tools(storage: Storage, workers: Workers, registry: Registry, fleet: Fleet) -> Tools:
    directory = Directory(storage.registry_nodes, workers, registry, fleet, fleet.clock, new_id)
    return Tools(storage.tools, storage.tool_upkeep, storage.tool_reports, directory, fleet.clock, new_id)
