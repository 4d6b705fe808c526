"""Settings of the running process: what the database adds at start, and what a change does to the running parts."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from orchestrator.bootstrap import values
from orchestrator.domain.errors import ConfigurationError, InvalidRequest
from orchestrator.domain.node import NodeSource
from orchestrator.ports.configuration import Difference
from orchestrator.ports.overrides import OverrideStore
from orchestrator.services.configuration import Configuration
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.recovery_tests import RecoveryTests
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.history import Cleanup, DecisionSampler, Recorder
from orchestrator.services.models.demand import DemandWatch
from orchestrator.services.models.jobs import ModelJobs
from orchestrator.services.models.warmup import Warmups
from orchestrator.services.tasks.event_retention import EventRetention
from orchestrator.services.tasks.retention import TaskRetention
from orchestrator.services.tasks.seats import Seats
from orchestrator.services.tasks.task_logs import TaskLogs
from orchestrator.services.tasks.tasks import Tasks
from orchestrator.services.tasks.webhooks import Webhooks
from orchestrator.services.workers import Workers
from orchestrator.settings import NO_FILE, Loaded, Origin, Settings, apply, diff, dump, live_paths, load
from orchestrator.settings.document_change import masked, steps
from orchestrator.settings.key import keys
from orchestrator.settings.load import read_file
from orchestrator.settings.merge import get, has, overlay, put
from orchestrator.settings.problem import build

Level = Callable[[str], None]  # takes over a logging.level
FOLDER = "config"  # under data_dir: where files may be read from and written to by the API
READABLE = (".yaml", ".yml", ".toml", ".json")
WRITABLE = (".yaml", ".yml", ".json")
_PINNED = ("env", "flag")  # origins that a running process cannot change


async def restore(loaded: Loaded, store: OverrideStore) -> Loaded:
    """The settings with the changes of earlier processes on top. A stored change that this release cannot take is left
    out with a warning: the service that could mend it has to start."""
    document = await store.get()
    for path in sorted(live_paths()):
        if not has(document, path):
            continue
        try:
            loaded = loaded.override({path: get(document, path)})
        except ConfigurationError as error:
            logging.getLogger("orchestrator.configuration").warning("stored setting left out: %s", error.message)
    return loaded


class SettingsFiles:
    """`ports.configuration.SettingsSource` over `orchestrator.settings` and its files."""

    def __init__(self, loaded: Loaded) -> None:
        """`loaded` is what file, environment and flags say, without the database."""
        self._loaded = loaded
        self.file = _text(loaded.file)
        self._folder = (loaded.settings.data_dir / FOLDER).resolve()

    def change(self, settings: Settings, changes: Mapping[str, Any]) -> Settings:
        return apply(settings, changes)

    def compare(self, old: Settings, new: Settings) -> Sequence[Difference]:
        return [Difference(one.path, one.old, one.new, one.live) for one in diff(old, new)]

    def live(self, running: Settings, wanted: Settings) -> Settings:
        tree, other = dump(running, redact=False), dump(wanted, redact=False)
        for path in live_paths():
            put(tree, path, get(other, path))
        return build(tree)

    def document(self, base: Settings, settings: Settings) -> dict[str, Any]:
        old, new = dump(base, redact=False), dump(settings, redact=False)
        tree: dict[str, Any] = {}
        for path in live_paths():
            before, after = get(old, path), get(new, path)
            if before == after:
                continue
            if keys()[path].is_mapping:  # mappings merge, so what is gone has to be said
                after = dict.fromkeys(before.keys() - after.keys()) | after
            put(tree, path, after)
        return tree

    def steps(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Sequence[Difference]:
        return [Difference(one.path, one.old, one.new, one.live) for one in steps(old, new)]

    def masked(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        return masked(document)

    def origins(self, base: Settings, settings: Settings) -> Mapping[str, tuple[str, str]]:
        changed = {one.path for one in diff(base, settings)}
        return {
            path: ("database", "") if path in changed else (origin.source, origin.where)
            for path, origin in self._loaded.origins.items()
        }

    async def read(self, path: str | None) -> Settings:
        file = self._loaded.file if path is None else self._allowed(path, READABLE)
        loaded = await asyncio.to_thread(self._reread, file)
        self._loaded = loaded
        self.file = _text(loaded.file)
        return loaded.settings

    async def write(self, path: str | None, document: Mapping[str, Any]) -> str:
        if path is None and self._loaded.file is None:
            raise InvalidRequest(f"No configuration file is in use: give configPath, a file in {self._folder}.")
        file = self._allowed(str(self._loaded.file) if path is None else path, WRITABLE)
        await asyncio.to_thread(self._fold, file, document)
        return str(file)

    def _reread(self, file: Path | None) -> Loaded:
        before = dump(self._loaded.settings, redact=False)
        pinned: dict[str, Origin] = {
            path: origin for path, origin in self._loaded.origins.items() if origin.source in _PINNED
        }
        fresh = load(file or NO_FILE, os.environ, {path: get(before, path) for path in pinned})
        return replace(fresh, origins={**fresh.origins, **pinned})

    def _allowed(self, path: str, suffixes: tuple[str, ...]) -> Path:
        """The file that a caller names, if the API may touch it: nothing else of this machine is shown or changed."""
        if "\x00" in path:
            raise InvalidRequest("configPath is not a path.")
        file = (self._folder / path).resolve()
        in_use = self._loaded.file
        if not file.is_relative_to(self._folder) and (in_use is None or Path(path).resolve() != in_use.resolve()):
            raise InvalidRequest("configPath must be the file in use, or a file in the folder 'config' of data_dir.")
        if in_use is not None and Path(path).resolve() == in_use.resolve():
            file = in_use.resolve()
        if file.suffix.lower() not in suffixes:
            raise InvalidRequest(f"configPath must end with {', '.join(suffixes)}.")
        return file

    def _fold(self, file: Path, document: Mapping[str, Any]) -> None:
        """What the file in use says stays as it says it (references to secrets are not resolved); comments do not."""
        in_use = self._loaded.file
        said = read_file(in_use)[0].data if in_use is not None else {}
        tree = overlay(said, document)
        json_wanted = file.suffix.lower() == ".json"
        text = json.dumps(tree, indent=2) + "\n" if json_wanted else yaml.safe_dump(tree, sort_keys=False)
        draft = file.with_name(f".{file.name}.new")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            draft.touch(mode=0o600)
            draft.write_text(text, encoding="utf-8")
            if file.exists():
                shutil.copy2(file, file.with_name(f"{file.name}.bak"))
                shutil.copymode(file, draft)
            draft.replace(file)
        except OSError as error:
            raise InvalidRequest(f"The file cannot be written: {error.strerror}.") from None


def _text(file: Path | None) -> str | None:
    return str(file) if file is not None else None


class LiveHistory:
    """Hands changed settings to what writes the history."""

    def __init__(self, recorder: Recorder, sampler: DecisionSampler, cleanup: Cleanup) -> None:
        self.recorder = recorder
        self.sampler = sampler
        self.cleanup = cleanup

    def __call__(self, new: Settings) -> None:
        self.recorder.rows_per_second = new.history.rows_per_second
        if new.history.enabled:
            self.sampler.adopt(new.history.decisions_per_second)
        self.cleanup.retention = values.retention(new)


class LiveModels:
    """Hands changed settings to what keeps models in memory and on disks."""

    def __init__(self, warmups: Warmups, demand: DemandWatch, jobs: ModelJobs) -> None:
        self._warmups = warmups
        self._demand = demand
        self._jobs = jobs

    def __call__(self, new: Settings) -> None:
        self._warmups.rules = values.warmup_rules(new)
        self._demand.rules = values.demand_rules(new)
        self._jobs.rules = values.job_rules(new)


class LiveTasks:
    """Hands changed settings to what runs tasks."""

    def __init__(
        self,
        workers: Workers,
        tasks: Tasks,
        seats: Seats,
        retention: TaskRetention,
        webhooks: Webhooks,
        own_handlers: Callable[[Settings], None],
        event_retention: EventRetention,
        task_logs: TaskLogs,
        artifacts: Callable[[Settings], None],
    ) -> None:
        self._artifacts = artifacts
        self._event_retention = event_retention
        self._task_logs = task_logs
        self._own_handlers = own_handlers
        self._workers = workers
        self._webhooks = webhooks
        self._retention = retention
        self._tasks = tasks
        self._seats = seats

    def __call__(self, new: Settings) -> None:
        self._workers.rules = values.worker_rules(new)
        self._tasks.intake.defaults = values.task_defaults(new)
        self._seats.placement.use(new.tasks.policy)
        self._retention.rules = values.keep_rules(new)
        self._event_retention.rules = values.event_rules(new)
        self._task_logs.rules = values.log_rules(new)
        self._webhooks.rules = values.webhook_rules(new)
        self._own_handlers(new)
        self._artifacts(new)


class LiveParts:
    """Hands changed settings to the parts that run by them."""

    def __init__(
        self,
        fleet: Fleet,
        health: Health,
        gateway: Gateway,
        set_level: Level,
        history: LiveHistory,
        models: LiveModels,
        tests: RecoveryTests,
        tasks: LiveTasks,
    ) -> None:
        self.clock = fleet.clock
        self._fleet = fleet
        self._health = health
        self._gateway = gateway
        self._set_level = set_level
        self._history = history
        self._models = models
        self._tests = tests
        self._tasks = tasks

    def __call__(self, old: Settings, new: Settings) -> None:
        """Raises what a value refuses, before anything else is changed."""
        gateway = self._gateway
        options, limits = values.policy_options(new), values.limits(new)
        if options != gateway.placement.options:
            gateway.placement.configure(options)
        gateway.placement.use(new.gateway.policy)
        gateway.limits = limits
        gateway.upstream.keep_idle(new.gateway.max_connections_per_node)
        gateway.retry_policy = values.retry_policy(new)
        gateway.retry_budget.resize(new.retry.budget_ratio, new.retry.budget_min_per_second)
        gateway.queue.adopt(values.queue_policy(new))
        breakers = values.breaker_policy(new)
        if breakers != self._fleet.policy:
            self._fleet.adopt(breakers)
        rules = values.health_rules(new)
        if rules != self._health.rules:
            self._health.adopt(rules)
        if new.models.aliases != old.models.aliases:
            self._rename(old, new)
        if new.load_balancer.default_max_concurrency != old.load_balancer.default_max_concurrency:
            self._resize(new)
        if new.logging.level != old.logging.level:
            self._set_level(new.logging.level)
        self._history(new)
        self._models(new)
        self._tests.rules = values.recovery_test_rules(new)
        self._tasks(new)
        gateway.admitting.pump()

    def _rename(self, old: Settings, new: Settings) -> None:
        kept = {name: alias for name, alias in self._fleet.aliases.items() if name not in old.models.aliases}
        self._fleet.set_aliases((kept | {alias.name: alias for alias in values.aliases(new)}).values())

    def _resize(self, new: Settings) -> None:
        """Nodes of the file that name no limit follow the default."""
        following = {node.id for node in new.nodes if node.max_concurrency is None}
        for node in list(self._fleet.nodes.values()):
            if node.id in following and node.spec.source is NodeSource.CONFIG:
                limit = new.load_balancer.default_max_concurrency
                self._fleet.add(replace(node.spec, max_concurrency=limit))


def live_configuration(
    loaded: Loaded, settings: Settings, store: OverrideStore, parts: LiveParts
) -> Configuration[Settings]:
    """`loaded` without the database, `settings` with it: those that the parts were built from."""
    return Configuration(SettingsFiles(loaded), store, parts, parts.clock, loaded.settings, settings)
