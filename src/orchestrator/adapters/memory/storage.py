"""All stores in memory."""

from __future__ import annotations

import uuid

from orchestrator.adapters.memory.aliases import MemoryAliases
from orchestrator.adapters.memory.bans import MemoryBans
from orchestrator.adapters.memory.breakers import MemoryBreakers
from orchestrator.adapters.memory.history import MemoryHistory
from orchestrator.adapters.memory.keys import MemoryKeys
from orchestrator.adapters.memory.ledger import MemoryLedger
from orchestrator.adapters.memory.model_jobs import MemoryModelJobs
from orchestrator.adapters.memory.nodes import MemoryNodes
from orchestrator.adapters.memory.overrides import MemoryOverrides
from orchestrator.adapters.memory.schedules import MemorySchedules
from orchestrator.adapters.memory.webhooks import MemoryWebhooks
from orchestrator.adapters.memory.workers import MemoryWorkers
from orchestrator.ports.aliases import AliasStore
from orchestrator.ports.bans import BanStore
from orchestrator.ports.breakers import BreakerStore
from orchestrator.ports.history import HistoryStore
from orchestrator.ports.keys import KeyStore
from orchestrator.ports.ledger import Ledger
from orchestrator.ports.model_jobs import ModelJobStore
from orchestrator.ports.nodes import NodeStore
from orchestrator.ports.overrides import OverrideStore
from orchestrator.ports.schedules import ScheduleStore
from orchestrator.ports.task_archive import TaskArchive
from orchestrator.ports.webhooks import WebhookStore
from orchestrator.ports.workers import WorkerStore


class MemoryStorage:
    """`Storage` that lives as long as the object."""

    def __init__(self) -> None:
        self.nodes: NodeStore = MemoryNodes()
        self.bans: BanStore = MemoryBans()
        self.breakers: BreakerStore = MemoryBreakers()
        self.aliases: AliasStore = MemoryAliases()
        self.overrides: OverrideStore = MemoryOverrides()
        self.keys: KeyStore = MemoryKeys()
        self.history: HistoryStore = MemoryHistory()
        self.model_jobs: ModelJobStore = MemoryModelJobs()
        self.workers: WorkerStore = MemoryWorkers()
        self.schedules: ScheduleStore = MemorySchedules()
        ledger = MemoryLedger()
        self.ledger: Ledger = ledger
        self.task_archive: TaskArchive = ledger
        self.webhooks: WebhookStore = MemoryWebhooks(ledger)
        self.instance_id = uuid.uuid4().hex

    async def ping(self) -> None:
        """Memory always answers."""

    async def upgrade(self) -> None:
        """There is no schema to bring up to date."""

    async def schema_version(self) -> str:
        return "memory"
