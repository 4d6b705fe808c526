"""All stores in memory."""

from __future__ import annotations

import uuid

from orchestrator.adapters.memory.aliases import MemoryAliases
from orchestrator.adapters.memory.artifacts import MemoryArtifacts, MemoryUploads
from orchestrator.adapters.memory.bans import MemoryBans
from orchestrator.adapters.memory.breakers import MemoryBreakers
from orchestrator.adapters.memory.event_log import MemoryEventLog
from orchestrator.adapters.memory.history import MemoryHistory
from orchestrator.adapters.memory.keys import MemoryKeys
from orchestrator.adapters.memory.ledger import MemoryLedger
from orchestrator.adapters.memory.mcp_servers import MemoryMcpServers
from orchestrator.adapters.memory.meanings import MemoryMeanings
from orchestrator.adapters.memory.model_jobs import MemoryModelJobs
from orchestrator.adapters.memory.nodes import MemoryNodes
from orchestrator.adapters.memory.notes import MemoryNotes
from orchestrator.adapters.memory.overrides import MemoryOverrides
from orchestrator.adapters.memory.registry_nodes import MemoryRegistryNodes
from orchestrator.adapters.memory.schedules import MemorySchedules
from orchestrator.adapters.memory.switches import MemorySwitches
from orchestrator.adapters.memory.task_logs import MemoryTaskLogs
from orchestrator.adapters.memory.tool_calls import MemoryToolCalls
from orchestrator.adapters.memory.tool_reports import MemoryToolReports
from orchestrator.adapters.memory.tools import MemoryTools
from orchestrator.adapters.memory.webhooks import MemoryWebhooks
from orchestrator.adapters.memory.workers import MemoryWorkers
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


class MemoryStorage:
    """`Storage` that lives as long as the object."""

    def __init__(self) -> None:
        servers = MemoryNodes()
        self.nodes: NodeStore = servers
        self.bans: BanStore = MemoryBans()
        self.breakers: BreakerStore = MemoryBreakers()
        self.aliases: AliasStore = MemoryAliases()
        self.overrides: OverrideStore = MemoryOverrides()
        self.keys: KeyStore = MemoryKeys()
        self.history: HistoryStore = MemoryHistory()
        self.model_jobs: ModelJobStore = MemoryModelJobs()
        workers = MemoryWorkers()
        self.workers: WorkerStore = workers
        self.schedules: ScheduleStore = MemorySchedules()
        self.switches: SwitchStore = MemorySwitches()
        artifacts = MemoryArtifacts()
        registry_nodes = MemoryRegistryNodes(workers, servers)
        tools = MemoryTools(registry_nodes, artifacts)
        self.registry_nodes: RegistryNodeStore = registry_nodes
        self.tools: ToolStore = tools
        self.tool_upkeep: ToolUpkeep = tools
        self.mcp_servers: McpServerStore = MemoryMcpServers()
        self.notes: NoteStore = MemoryNotes()
        self.tool_reports: ToolReports = MemoryToolReports(registry_nodes, tools, artifacts)
        self.tool_calls: ToolCallStore = MemoryToolCalls(tools)
        self.artifacts: ArtifactStore = artifacts
        self.uploads: UploadStore = MemoryUploads(artifacts)
        self.meanings: MeaningStore = MemoryMeanings(tools, artifacts)
        ledger = MemoryLedger()
        self.ledger: Ledger = ledger
        self.task_archive: TaskArchive = ledger
        self.webhooks: WebhookStore = MemoryWebhooks(ledger)
        self.event_log: EventLog = MemoryEventLog()
        self.task_logs: TaskLogStore = MemoryTaskLogs(ledger)
        self.instance_id = uuid.uuid4().hex

    async def ping(self) -> None:
        """Memory always answers."""

    async def upgrade(self) -> None:
        """There is no schema to bring up to date."""

    async def schema_version(self) -> str:
        return "memory"
