"""All stores on one database."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import sqlalchemy as sa

from orchestrator.adapters.sql import schema
from orchestrator.adapters.sql.aliases import SqlAliases
from orchestrator.adapters.sql.artifacts import SqlArtifacts, SqlUploads
from orchestrator.adapters.sql.bans import SqlBans
from orchestrator.adapters.sql.breakers import SqlBreakers
from orchestrator.adapters.sql.checkpoints import Checkpoints
from orchestrator.adapters.sql.database import BUSY_TIMEOUT, Database, open_database
from orchestrator.adapters.sql.event_log import PostgresEventLog, SqliteEventLog
from orchestrator.adapters.sql.history import SqlHistory
from orchestrator.adapters.sql.keys import SqlKeys
from orchestrator.adapters.sql.ledger import WRITING, PostgresLedger, SqliteLedger
from orchestrator.adapters.sql.location import SqliteFile, locate
from orchestrator.adapters.sql.mcp_servers import SqlMcpServers
from orchestrator.adapters.sql.meanings import SqlMeanings
from orchestrator.adapters.sql.model_jobs import SqlModelJobs
from orchestrator.adapters.sql.nodes import SqlNodes
from orchestrator.adapters.sql.notes import SqlNotes
from orchestrator.adapters.sql.overrides import SqlOverrides
from orchestrator.adapters.sql.registry_nodes import SqlRegistryNodes
from orchestrator.adapters.sql.schedules import SqlSchedules
from orchestrator.adapters.sql.sqlite_process import SqliteProcess
from orchestrator.adapters.sql.switches import SqlSwitches
from orchestrator.adapters.sql.tables import meta
from orchestrator.adapters.sql.task_logs import SqlTaskLogs
from orchestrator.adapters.sql.tool_calls import SqlToolCalls
from orchestrator.adapters.sql.tool_reports import SqlToolReports
from orchestrator.adapters.sql.tool_upkeep import SqlToolUpkeep
from orchestrator.adapters.sql.tools import SqlTools
from orchestrator.adapters.sql.webhooks import SqlWebhooks
from orchestrator.adapters.sql.workers import SqlWorkers
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

INSTANCE = "instance_id"


class SqlStorage:
    """`Storage` on SQLite or PostgreSQL."""

    def __init__(
        self,
        database: Database,
        ledger: SqliteLedger | PostgresLedger,
        event_log: SqliteEventLog | PostgresEventLog,
    ) -> None:
        self._database = database
        self.nodes: NodeStore = SqlNodes(database)
        self.bans: BanStore = SqlBans(database)
        self.breakers: BreakerStore = SqlBreakers(database)
        self.aliases: AliasStore = SqlAliases(database)
        self.overrides: OverrideStore = SqlOverrides(database)
        self.keys: KeyStore = SqlKeys(database)
        self.history: HistoryStore = SqlHistory(database)
        self.model_jobs: ModelJobStore = SqlModelJobs(database)
        self.workers: WorkerStore = SqlWorkers(database)
        self.schedules: ScheduleStore = SqlSchedules(database)
        self.switches: SwitchStore = SqlSwitches(database)
        self.webhooks: WebhookStore = SqlWebhooks(database)
        self.registry_nodes: RegistryNodeStore = SqlRegistryNodes(database)
        self.tools: ToolStore = SqlTools(database)
        self.tool_upkeep: ToolUpkeep = SqlToolUpkeep(database)
        self.mcp_servers: McpServerStore = SqlMcpServers(database)
        self.notes: NoteStore = SqlNotes(database)
        self.tool_reports: ToolReports = SqlToolReports(database)
        self.tool_calls: ToolCallStore = SqlToolCalls(database)
        self.event_log: EventLog = event_log
        self.task_logs: TaskLogStore = SqlTaskLogs(database)
        self.artifacts: ArtifactStore = SqlArtifacts(database)
        self.uploads: UploadStore = SqlUploads(database)
        self.meanings: MeaningStore = SqlMeanings(database)
        self.ledger: Ledger = ledger
        self.task_archive: TaskArchive = ledger
        self.instance_id = ""

    async def ping(self) -> None:
        await self._instance()

    async def upgrade(self) -> None:
        await schema.upgrade(self._database)
        self.instance_id = await self._instance()
        if not self.instance_id:
            await self._database.run(self._database.add(meta), {"name": INSTANCE, "value": uuid.uuid4().hex})
            self.instance_id = await self._instance()

    async def schema_version(self) -> str:
        return await schema.revision(self._database)

    async def _instance(self) -> str:
        rows = await self._database.rows(sa.select(meta.c.value).where(meta.c.name == INSTANCE))
        return rows[0].value if rows else ""


@asynccontextmanager
async def open_sql_storage(url: str, *, busy_timeout: float = BUSY_TIMEOUT) -> AsyncGenerator[SqlStorage]:
    """Opens the database of a URL and brings its schema up to date.

    `busy_timeout` is how long (seconds) a write waits for another process that writes to the same SQLite file.
    Raises `ConfigurationError` for a URL, file or schema that this release cannot use, `StorageUnavailable` for a
    database that does not answer.
    """
    location = locate(url)
    async with open_database(location, busy_timeout) as database, AsyncExitStack() as stack:
        ledger: SqliteLedger | PostgresLedger
        event_log: SqliteEventLog | PostgresEventLog
        if isinstance(location, SqliteFile):
            writer = SqliteProcess(location, busy_timeout, WRITING)
            stack.push_async_callback(writer.close)
            ledger = SqliteLedger(location, busy_timeout, writer, database.turn)
            event_log = SqliteEventLog(database, writer)
        else:
            ledger = PostgresLedger(location)
            event_log = PostgresEventLog(database, location)
            stack.push_async_callback(event_log.close)
        stack.push_async_callback(ledger.close)
        storage = SqlStorage(database, ledger, event_log)
        await storage.upgrade()
        if isinstance(location, SqliteFile):
            await stack.enter_async_context(Checkpoints(location, busy_timeout, database.turn).kept())
        yield storage
