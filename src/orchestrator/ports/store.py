"""Everything the service keeps, as one thing to open and close."""

from __future__ import annotations

from typing import Protocol

from orchestrator.ports.aliases import AliasStore
from orchestrator.ports.artifacts import ArtifactStore, UploadStore
from orchestrator.ports.bans import BanStore
from orchestrator.ports.breakers import BreakerStore
from orchestrator.ports.event_log import EventLog
from orchestrator.ports.history import HistoryStore
from orchestrator.ports.keys import KeyStore
from orchestrator.ports.ledger import Ledger
from orchestrator.ports.mcp import McpServerStore
from orchestrator.ports.meanings import MeaningStore
from orchestrator.ports.model_jobs import ModelJobStore
from orchestrator.ports.nodes import NodeStore
from orchestrator.ports.notes import NoteStore
from orchestrator.ports.overrides import OverrideStore
from orchestrator.ports.registry_nodes import RegistryNodeStore
from orchestrator.ports.schedules import ScheduleStore
from orchestrator.ports.switches import SwitchStore
from orchestrator.ports.task_archive import TaskArchive
from orchestrator.ports.task_logs import TaskLogStore
from orchestrator.ports.tool_calls import ToolCallStore
from orchestrator.ports.tools import ToolReports, ToolStore, ToolUpkeep
from orchestrator.ports.webhooks import WebhookStore
from orchestrator.ports.workers import WorkerStore


class Storage(Protocol):
    """The stores of one installation. Every method of every store raises `StorageUnavailable` when the database
    cannot be reached, read or written; the attempted change is then not made."""

    nodes: NodeStore
    bans: BanStore
    breakers: BreakerStore
    aliases: AliasStore
    overrides: OverrideStore
    keys: KeyStore
    history: HistoryStore
    model_jobs: ModelJobStore
    workers: WorkerStore
    schedules: ScheduleStore
    webhooks: WebhookStore
    registry_nodes: RegistryNodeStore
    tools: ToolStore
    tool_upkeep: ToolUpkeep
    mcp_servers: McpServerStore
    notes: NoteStore
    tool_reports: ToolReports
    tool_calls: ToolCallStore
    event_log: EventLog
    task_logs: TaskLogStore
    switches: SwitchStore
    artifacts: ArtifactStore
    uploads: UploadStore
    meanings: MeaningStore
    ledger: Ledger
    task_archive: TaskArchive  # the same tasks, where they are forgotten
    instance_id: str  # drawn once for the installation; replicas on one database share it

    async def ping(self) -> None:
        """Returns when the database answers; `StorageUnavailable` otherwise."""

    async def upgrade(self) -> None:
        """Brings the schema to this release's. `ConfigurationError` when a newer release wrote the database."""

    async def schema_version(self) -> str:
        """The schema's revision, empty before the first upgrade."""
