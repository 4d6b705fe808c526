"""One running service: all its parts, put together and kept alive."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import uuid4

from orchestrator import __version__
from orchestrator.adapters.anthropic.probe import AnthropicProbe
from orchestrator.adapters.http1.pool import ConnectionPool
from orchestrator.adapters.jsonschema import CompiledSchemas
from orchestrator.adapters.logging import Ring, set_level
from orchestrator.adapters.machine import PsutilMachine
from orchestrator.adapters.ollama.probe import OllamaProbe
from orchestrator.adapters.openai.probe import OpenAIProbe
from orchestrator.adapters.prometheus import PrometheusExposition
from orchestrator.bootstrap import values
from orchestrator.bootstrap.artifacts import ArtifactParts, build_artifacts
from orchestrator.bootstrap.configuration import (
    LiveHistory,
    LiveModels,
    LiveParts,
    LiveTasks,
    live_configuration,
    restore,
)
from orchestrator.bootstrap.nodes import bring_nodes, embedded_servers, keep
from orchestrator.bootstrap.own_handlers import OwnHandlers
from orchestrator.bootstrap.seams import PLAIN, Seams
from orchestrator.bootstrap.search import SearchParts, build_search
from orchestrator.bootstrap.sharing import build_sharing
from orchestrator.bootstrap.tasks import TaskParts, build_tasks
from orchestrator.bootstrap.tool_calls import ToolCallParts, build_tool_calls
from orchestrator.bootstrap.tool_parts import Surroundings
from orchestrator.bootstrap.tools import build_tools
from orchestrator.domain.limiter import RateLimiter
from orchestrator.domain.node import NodeKind
from orchestrator.domain.placement import Placement, Roster
from orchestrator.domain.queue import AdmissionQueue
from orchestrator.domain.retry import RetryBudget
from orchestrator.ports.logs import LogBook
from orchestrator.ports.machine import Machine
from orchestrator.ports.probe import Probe
from orchestrator.ports.store import Storage
from orchestrator.ports.telemetry import Family
from orchestrator.services.artifacts import Artifacts, Sweeper, Uploads
from orchestrator.services.clock import Clock
from orchestrator.services.configuration import Configuration
from orchestrator.services.events import FleetEvents
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.identify import Identifier
from orchestrator.services.fleet.library import Library
from orchestrator.services.fleet.recovery import RecoveryLog
from orchestrator.services.fleet.recovery_tests import RecoveryTests
from orchestrator.services.fleet.registry import Registry
from orchestrator.services.flushing import keep_flushing
from orchestrator.services.gateway.drain import Drain
from orchestrator.services.gateway.exchange import Exchange
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.history import Analytics, Cleanup, DecisionSampler, Recorder
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
from orchestrator.settings import Loaded, Settings
from orchestrator.storage import open_storage

Hide = Callable[[str | None], str | None]


class Source(Protocol):
    """What has numbers for `GET /metrics`."""

    @property
    def families(self) -> Callable[[], Iterable[Family]]: ...


_RAND = random.SystemRandom().random
BREAKERS_SECONDS = 1.0  # what a crash may cost of the breakers' states
KEYS_SECONDS = 30.0  # and of the keys' last uses


@dataclass(slots=True)
class Service:
    """What the entry points are given."""

    loaded: Loaded
    clock: Clock
    storage: Storage
    upstream: ConnectionPool
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
    recorder: Recorder
    sampler: DecisionSampler
    cleanup: Cleanup
    fleet_memory: FleetMemory
    warmups: Warmups
    model_jobs: ModelJobs
    demand: DemandWatch
    workers: Workers
    tools: Tools
    machine: Machine
    task_parts: TaskParts
    tool_call_parts: ToolCallParts
    search_parts: SearchParts
    artifact_parts: ArtifactParts
    own_handlers: OwnHandlers
    started_at: float
    ready: bool = False
    stop: Callable[[], None] = lambda: None  # ends `serve` as SIGTERM does; set once it listens
    background: set[asyncio.Task[None]] = field(default_factory=set)
    log_entries: LogBook = field(default_factory=lambda: Ring(0))  # the latest, without secrets
    stopping: asyncio.Event = field(default_factory=asyncio.Event)  # set with the first moment of a shutdown

    @property
    def settings(self) -> Settings:
        return self.configuration.settings

    @property
    def directory(self) -> Directory:
        return self.tools.directory

    @property
    def tasks(self) -> Tasks:
        return self.task_parts.tasks

    @property
    def scheduler(self) -> Scheduler:
        return self.task_parts.scheduler

    @property
    def local(self) -> Local:
        return self.task_parts.local

    @property
    def bulletin(self) -> Bulletin:
        return self.task_parts.bulletin

    @property
    def figures(self) -> Figures:
        return self.task_parts.figures

    @property
    def schedules(self) -> Schedules:
        return self.task_parts.schedules

    @property
    def webhooks(self) -> Webhooks:
        return self.task_parts.webhooks

    @property
    def catalogue(self) -> Catalogue:
        return self.tool_call_parts.catalogue

    @property
    def tool_calls(self) -> Calls:
        return self.tool_call_parts.calls

    @property
    def tool_hosts(self) -> ToolHosts:
        return self.tool_call_parts.hosts

    @property
    def mcp(self) -> McpServers:
        return self.tool_call_parts.mcp

    @property
    def list_changes(self) -> ListChanges:
        return self.tool_call_parts.list_changes

    @property
    def search(self) -> Search:
        return self.search_parts.search

    @property
    def artifacts(self) -> Artifacts:
        return self.artifact_parts.artifacts

    @property
    def uploads(self) -> Uploads:
        return self.artifact_parts.uploads

    @property
    def sweeper(self) -> Sweeper:
        return self.artifact_parts.sweeper

    @property
    def task_logs(self) -> TaskLogs:
        return self.task_parts.task_logs

    @property
    def waits(self) -> Waits:
        return self.task_parts.waits

    @property
    def bulk(self) -> Bulk:
        return self.task_parts.bulk


def probes(upstream: ConnectionPool) -> Mapping[NodeKind, Probe]:
    openai = OpenAIProbe(upstream)
    return {
        NodeKind.OLLAMA: OllamaProbe(upstream),
        NodeKind.OPENAI: openai,
        NodeKind.LLAMACPP: openai,
        NodeKind.ANTHROPIC: AnthropicProbe(upstream),
        NodeKind.DEMO: OllamaProbe(upstream),
    }


@asynccontextmanager
async def assemble(loaded: Loaded, hide: Hide = lambda secret: secret, seams: Seams = PLAIN) -> AsyncGenerator[Service]:
    """Puts a service together from its settings and keeps its loops running until the block ends. `hide` is told of
    every node's key, so that logs never show one."""
    settings = loaded.settings
    engines = embedded_servers(settings)
    async with AsyncExitStack() as stack:
        opening = open_storage(settings.database_url, busy_timeout=settings.database.timeout)
        storage = await stack.enter_async_context(opening)
        start = await restore(loaded, storage.overrides)
        settings = start.settings
        service = _build(loaded, start, storage, hide, seams)
        stack.push_async_callback(service.upstream.close)
        await service.keyring.load()
        await service.registry.load(values.node_specs(settings), values.aliases(settings))
        await service.workers.load()
        stack.push_async_callback(service.registry.flush)
        stack.push_async_callback(service.workers.flush)
        stack.push_async_callback(service.keyring.flush)
        stack.push_async_callback(service.own_handlers.processes.close)
        others = settings.database_url.startswith("postgres")
        if others:
            stack.enter_context(service.task_parts.place)
        await service.switches.load(service.task_parts.place.name if others else "")
        stack.push_async_callback(service.switches.stop)
        service.artifact_parts.start(stack)
        place, owner = service.task_parts.place, service.scheduler.owner
        await service.tool_call_parts.start(stack, owner, place.dead)
        service.own_handlers.add_tools(service.tool_calls, service.keyring, service.stopping.is_set)
        await service.task_parts.start(stack)
        stack.callback(service.stopping.set)  # whoever is cancelled from here on can tell why
        keep(stack, service.switches.run(asyncio.sleep, others=others))
        await bring_nodes(service, probes(service.upstream), engines, stack)
        service.gateway.start()
        stack.push_async_callback(service.warmups.stop)
        stack.push_async_callback(service.model_jobs.stop)
        keep(stack, service.model_jobs.run(asyncio.sleep))
        keep(stack, service.demand.run(asyncio.sleep))
        if settings.history.enabled:
            service.recorder.start()
            stack.push_async_callback(service.recorder.stop)
            service.sampler.start()
            keep(stack, service.cleanup.run(asyncio.sleep))
        stack.callback(service.drain.stop)
        keep(stack, service.health.run())
        stack.push_async_callback(service.recovery_tests.stop)
        keep(stack, service.recovery_tests.run(asyncio.sleep))
        keep(stack, keep_flushing(service.registry.flush, BREAKERS_SECONDS, log_storage, asyncio.sleep))
        keep(stack, service.workers.run(asyncio.sleep))
        service.tools.reenable = lambda: service.settings.tools.reenable
        keep(stack, service.tools.run(asyncio.sleep, log_storage))
        service.search_parts.start(stack)
        keep(stack, service.workers.keep(asyncio.sleep, log_storage, others=others))
        keep(stack, keep_flushing(service.keyring.flush, KEYS_SECONDS, log_storage, asyncio.sleep))
        stack.callback(service.gateway.stop)
        sharing = build_sharing(settings, storage, service.gateway, service.scheduler.owner)
        if sharing is not None:
            keep(stack, sharing.run())
        yield service


def log_storage(error: Exception) -> None:
    logging.getLogger("orchestrator.storage").warning("not written down yet: %s", error)


def log_bug(request_id: str, error: Exception) -> None:
    logging.getLogger("orchestrator.gateway").error("bug", exc_info=error, extra={"request": request_id})


def _build(loaded: Loaded, start: Loaded, storage: Storage, hide: Hide, seams: Seams) -> Service:
    """`loaded` is what file, environment and flags say, `start` the same with the changes kept in the database."""
    settings, clock = start.settings, Clock()
    upstream = ConnectionPool(max_idle_per_target=settings.gateway.max_connections_per_node)
    fleet, health = _fleet(settings, clock, upstream, hide)
    registry = Registry(fleet, health, upstream, storage)
    recoveries = RecoveryLog(fleet, health)
    recovery_tests = RecoveryTests(fleet, health, upstream, recoveries, values.recovery_test_rules(settings))
    library = Library(fleet, health, upstream)
    gateway = _gateway(settings, fleet, upstream)
    loading = _loading(settings, storage, upstream, gateway, health, library)
    keyring = _keyring(settings, clock, storage)
    history_parts = _history(settings, gateway, storage, clock)
    workers = _workers(settings, fleet, storage, registry)
    own_handlers = OwnHandlers(settings, gateway, keyring, upstream, workers)
    artifacts = build_artifacts(settings, storage, clock)
    tools = build_tools(storage, workers, registry, fleet)
    beside = (settings, storage, clock, upstream, fleet, health, registry, workers, keyring, tools)
    made = (artifacts.artifacts, artifacts.uploads, own_handlers.processes)
    tool_calls = build_tool_calls(Surroundings(*beside, *made, CompiledSchemas()))
    tasks = build_tasks(settings, fleet, storage, upstream, workers, own_handlers.by_type, artifacts.outputs, seams)
    search = build_search(settings, storage, gateway, tool_calls.catalogue)
    live_tasks = _live_tasks(tasks, own_handlers, artifacts, tool_calls, search)
    parts = LiveParts(fleet, health, gateway, set_level, history_parts, loading.live, recovery_tests, live_tasks)
    drain = Drain(gateway)
    return Service(
        loaded=start,
        clock=clock,
        storage=storage,
        upstream=upstream,
        fleet=fleet,
        health=health,
        registry=registry,
        recoveries=recoveries,
        recovery_tests=recovery_tests,
        library=library,
        gateway=gateway,
        keyring=keyring,
        configuration=live_configuration(loaded, settings, storage.overrides, parts),
        identifier=Identifier(upstream, lambda spec: hide(values.resolve_secret(spec.api_key))),
        drain=drain,
        switches=Switches(storage.switches, tasks.tasks, gateway, drain, clock.wall),
        metrics=_metrics(fleet, gateway, history_parts.recorder, tasks, artifacts, tool_calls),
        analytics=Analytics(storage.history, history_parts.recorder, gateway),
        recorder=history_parts.recorder,
        sampler=history_parts.sampler,
        cleanup=history_parts.cleanup,
        fleet_memory=loading.memory,
        warmups=loading.warmups,
        model_jobs=loading.jobs,
        demand=loading.demand,
        workers=workers,
        tools=tools,
        machine=PsutilMachine(settings.data_dir),
        task_parts=tasks,
        tool_call_parts=tool_calls,
        search_parts=search,
        artifact_parts=artifacts,
        own_handlers=own_handlers,
        started_at=clock.epoch,
    )


class Loading(NamedTuple):
    """What brings models into memories and onto disks."""

    warmups: Warmups
    memory: FleetMemory
    jobs: ModelJobs
    demand: DemandWatch

    @property
    def live(self) -> LiveModels:
        return LiveModels(self.warmups, self.demand, self.jobs)


def _loading(
    settings: Settings, storage: Storage, upstream: ConnectionPool, gateway: Gateway, health: Health, library: Library
) -> Loading:
    fleet = gateway.fleet
    warmups = Warmups(fleet, health, upstream, values.warmup_rules(settings))
    memory = FleetMemory(fleet, library, warmups)
    jobs = ModelJobs(fleet, health, library, storage.model_jobs, values.job_rules(settings), lambda: uuid4().hex[:12])
    return Loading(
        warmups, memory, jobs, DemandWatch(gateway, memory, warmups, values.demand_rules(settings), storage.history)
    )


def _history(settings: Settings, gateway: Gateway, storage: Storage, clock: Clock) -> LiveHistory:
    recorder = Recorder(gateway, storage.history, rows_per_second=settings.history.rows_per_second)
    sampler = DecisionSampler(gateway, recorder.waiting.decide, per_second=settings.history.decisions_per_second)
    return LiveHistory(recorder, sampler, Cleanup(storage.history, values.retention(settings), clock.wall))


def _metrics(fleet: Fleet, gateway: Gateway, *sources: Source) -> Metrics:
    numbers = tuple(source.families for source in sources)
    return Metrics(fleet, gateway, PrometheusExposition(), version=__version__, more=numbers)


def _workers(settings: Settings, fleet: Fleet, storage: Storage, registry: Registry) -> Workers:
    workers = Workers(fleet, storage.workers, values.worker_rules(settings))
    registry.taken = workers.all().__contains__
    return workers


def _live_tasks(
    parts: TaskParts,
    own_handlers: OwnHandlers,
    artifacts: ArtifactParts,
    tool_calls: ToolCallParts,
    search: SearchParts,
) -> LiveTasks:
    def adopt(new: Settings) -> None:
        artifacts.adopt(new)
        tool_calls.adopt(new)
        search.adopt(new)

    return LiveTasks(
        parts.workers,
        parts.tasks,
        parts.scheduler.seats,
        parts.retention,
        parts.webhooks,
        own_handlers,
        parts.event_retention,
        parts.task_logs,
        adopt,
    )


def _fleet(settings: Settings, clock: Clock, upstream: ConnectionPool, hide: Hide) -> tuple[Fleet, Health]:
    policy = values.breaker_policy(settings)
    fleet = Fleet(clock, Roster(), policy, _RAND, lambda spec: hide(values.resolve_secret(spec.api_key)))
    health = Health(fleet, probes(upstream), values.health_rules(settings))
    FleetEvents(fleet, health)
    return fleet, health


def _gateway(settings: Settings, fleet: Fleet, upstream: ConnectionPool) -> Gateway:
    queue: AdmissionQueue[Exchange] = AdmissionQueue(values.queue_policy(settings))
    fast_rand = random.Random(secrets.randbits(64)).random  # noqa: S311 - placement needs speed, not secrecy
    return Gateway(
        fleet,
        upstream,
        Placement(settings.gateway.policy, values.policy_options(settings), rand=fast_rand),
        queue,
        RateLimiter(),
        RetryBudget(settings.retry.budget_ratio, settings.retry.budget_min_per_second),
        values.retry_policy(settings),
        values.limits(settings),
        rand=_RAND,
        instance=secrets.token_hex(4),
        history=settings.history.capacity,
        on_bug=log_bug,
    )


def _keyring(settings: Settings, clock: Clock, storage: Storage) -> Keyring:
    keyring = Keyring(
        clock,
        storage.keys,
        lambda length: secrets.token_urlsafe(length)[:length],
        enabled=settings.auth.enabled,
        anonymous_loopback=settings.auth.allow_anonymous_loopback,
        header=settings.auth.header,
        default_limit=settings.auth.rate_limit,
    )
    keyring.configure(values.principals(settings))
    return keyring
