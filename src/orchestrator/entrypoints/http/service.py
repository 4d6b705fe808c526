"""What the HTTP entry points need of the running service."""

from __future__ import annotations

import asyncio
from typing import Protocol

from orchestrator.ports.logs import LogBook
from orchestrator.ports.machine import Machine
from orchestrator.ports.store import Storage
from orchestrator.services.artifacts import Artifacts, Sweeper, Uploads
from orchestrator.services.clock import Clock
from orchestrator.services.configuration import Configuration
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.identify import Identifier
from orchestrator.services.fleet.library import Library
from orchestrator.services.fleet.recovery import RecoveryLog
from orchestrator.services.fleet.recovery_tests import RecoveryTests
from orchestrator.services.fleet.registry import Registry
from orchestrator.services.gateway.drain import Drain
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.history import Analytics
from orchestrator.services.keys import Keyring
from orchestrator.services.mcp import McpServers
from orchestrator.services.mcp.list_changes import ListChanges
from orchestrator.services.metrics import Metrics
from orchestrator.services.models.demand import DemandWatch
from orchestrator.services.models.jobs import ModelJobs
from orchestrator.services.models.residency import FleetMemory
from orchestrator.services.models.warmup import Warmups
from orchestrator.services.registry import Directory, Tools
from orchestrator.services.registry.search import Search
from orchestrator.services.switches import Switches
from orchestrator.services.tasks.bulk import Bulk
from orchestrator.services.tasks.bulletin import Bulletin
from orchestrator.services.tasks.figures import Figures
from orchestrator.services.tasks.local import Local
from orchestrator.services.tasks.scheduler import Scheduler
from orchestrator.services.tasks.schedules import Schedules
from orchestrator.services.tasks.task_logs import TaskLogs
from orchestrator.services.tasks.tasks import Tasks
from orchestrator.services.tasks.waits import Waits
from orchestrator.services.tasks.webhooks import Webhooks
from orchestrator.services.tool_calls import Calls, Catalogue
from orchestrator.services.tool_calls.hosts import ToolHosts
from orchestrator.services.workers import Workers
from orchestrator.settings import Settings


class HttpService(Protocol):
    """`bootstrap.Service`, seen from here."""

    @property
    def settings(self) -> Settings: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def tasks(self) -> Tasks: ...
    @property
    def scheduler(self) -> Scheduler: ...
    @property
    def local(self) -> Local: ...
    @property
    def bulletin(self) -> Bulletin: ...
    @property
    def figures(self) -> Figures: ...
    @property
    def schedules(self) -> Schedules: ...
    @property
    def webhooks(self) -> Webhooks: ...
    @property
    def catalogue(self) -> Catalogue: ...
    @property
    def tool_calls(self) -> Calls: ...
    @property
    def tool_hosts(self) -> ToolHosts: ...
    @property
    def search(self) -> Search: ...
    @property
    def artifacts(self) -> Artifacts: ...
    @property
    def uploads(self) -> Uploads: ...
    @property
    def sweeper(self) -> Sweeper: ...
    @property
    def mcp(self) -> McpServers: ...
    @property
    def list_changes(self) -> ListChanges: ...
    @property
    def task_logs(self) -> TaskLogs: ...
    @property
    def waits(self) -> Waits: ...
    @property
    def bulk(self) -> Bulk: ...

    clock: Clock
    storage: Storage
    fleet: Fleet
    health: Health
    registry: Registry
    recoveries: RecoveryLog
    recovery_tests: RecoveryTests
    library: Library
    gateway: Gateway
    keyring: Keyring
    configuration: Configuration[Settings]
    identifier: Identifier
    drain: Drain
    switches: Switches
    metrics: Metrics
    analytics: Analytics
    fleet_memory: FleetMemory
    warmups: Warmups
    model_jobs: ModelJobs
    demand: DemandWatch
    workers: Workers
    tools: Tools
    machine: Machine
    started_at: float  # seconds since the epoch
    log_entries: LogBook
    stopping: asyncio.Event  # set with the first moment of a shutdown: streams that have no end of their own end
    ready: bool  # False from the first moment of a shutdown
