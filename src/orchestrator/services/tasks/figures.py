"""What happened to tasks lately, counted as it happens. Since the start of this process, and of this process only; the
ledger has the sums of all."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.histogram import DURATION_BOUNDS, Histogram
from orchestrator.domain.task.state import ACTIVE, CANCELLED, COMPLETED, FAILED, FINISHED, QUEUED, TIMEOUT, VALUES
from orchestrator.domain.task.task import Task
from orchestrator.domain.worker import Worker
from orchestrator.ports.ledger import Counts
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.tasks.node_figures import NodeFigures, node_figures

STEP = 5.0  # seconds that are counted together
LATELY = 300.0  # seconds
MINUTE = 60.0
KEPT = 1440  # samples: a day
MOST_LABELS = 500  # task types with numbers of their own; the rest share one name
MOST_NODES = 10_000
OTHER = "other"
TASK_BOUNDS = (*DURATION_BOUNDS, 900.0, 3600.0, 14_400.0)  # seconds
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FAILED = frozenset({FAILED, TIMEOUT})
_log = logging.getLogger("orchestrator.tasks")


@dataclass(slots=True)
class _Step:
    number: int
    completed: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Lately:
    """The last five minutes; `per_minute` is what completed in the last one. `success_rate` (0 to 1) is that of the
    tasks which ended by themselves, `response_time` the mean time that the last attempts took, in ms; None without
    any."""

    completed: int
    failed: int
    per_minute: int
    success_rate: float | None
    response_time: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment of the history; `at` in seconds since the epoch. `tasks_completed` is the ledger's sum, None when it
    could not be read."""

    at: float
    lately: Lately
    nodes: NodeFigures
    tasks_completed: int | None


class ApiFigures:
    """Calls of /api/v1. `endpoint` is the route's path with its parameters' names."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str, str]] = Counter()  # method, endpoint, status
        self.seconds: dict[str, Histogram] = {}
        self.total = 0
        self.errors = 0

    def count(self, method: str, endpoint: str, status: int, seconds: float) -> None:
        self.total += 1
        self.errors += status >= 400
        self.calls[method if method in _METHODS else OTHER.upper(), endpoint, str(status)] += 1
        known = self.seconds.get(endpoint)
        if known is None:
            known = self.seconds[endpoint] = Histogram()
        known.observe(seconds)


class Figures:
    """`task` is a watcher of `Scheduler.on_change`, `lost` one of `Workers.on_lost`."""

    def __init__(
        self,
        wall: Callable[[], float],
        counts: Callable[[], Awaitable[Counts]],
        workers: Callable[[], Mapping[str, Worker]],
        servers: Mapping[str, FleetNode],
    ) -> None:
        """`wall` tells the time in seconds since the epoch; `workers` are the workers as they are now."""
        self.api = ApiFigures()
        self.submitted = 0
        self.ended: Counter[tuple[str, str]] = Counter()  # type, state
        self.durations: dict[str, Histogram] = {}  # by type
        self.failures: Counter[str] = Counter()  # by node
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self._wall = wall
        self._counts = counts
        self._workers = workers
        self._servers = servers
        self._steps: deque[_Step] = deque(maxlen=int(LATELY / STEP) + 1)

    def task(self, new: Task, old: Task | None) -> None:
        if old is None:
            self.submitted += 1
            return
        if new.state not in FINISHED or old.state in FINISHED:
            return
        name = _label(new.spec.type, self.durations, MOST_LABELS)
        known = self.durations.get(name)
        if known is None:
            known = self.durations[name] = Histogram(TASK_BOUNDS)
        self.ended[name, VALUES[new.state]] += 1
        seconds = new.execution_time
        if seconds is not None:
            known.observe(seconds)
        if new.state is COMPLETED:
            step = self._step(new.finished_at or 0.0)
            step.completed += 1
            step.seconds += seconds or 0.0
        elif new.state in _FAILED:
            self._step(new.finished_at or 0.0).failed += 1

    def lost(self, worker_id: str, *, removed: bool) -> None:
        if not removed:
            self.failures[_label(worker_id, self.failures, MOST_NODES)] += 1

    def lately(self) -> Lately:
        now = self._wall()
        steps = [step for step in self._steps if step.number * STEP > now - LATELY]
        completed, failed = sum(step.completed for step in steps), sum(step.failed for step in steps)
        ended = completed + failed
        return Lately(
            completed,
            failed,
            sum(step.completed for step in steps if step.number * STEP > now - MINUTE),
            completed / ended if ended else None,
            1000.0 * sum(step.seconds for step in steps) / completed if completed else None,
        )

    def nodes(self) -> NodeFigures:
        return node_figures(self._workers().values(), self._servers.values())

    async def sample(self) -> Sample:
        """This moment."""
        try:
            completed: int | None = (await self._counts()).ended.get(COMPLETED, 0)
        except StorageUnavailable as error:
            _log.warning("not counted: %s", error)
            completed = None
        return Sample(self._wall(), self.lately(), self.nodes(), completed)

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Keeps a sample a minute, until cancelled."""
        while True:
            await sleep(MINUTE)
            self.samples.append(await self.sample())

    async def history(self, limit: int) -> Sequence[Sample]:
        """The latest samples, oldest first; the last one is of now."""
        kept = list(self.samples)[-(limit - 1) :] if limit > 1 else []
        return [*kept, await self.sample()]

    def _step(self, at: float) -> _Step:
        number = int(at // STEP)
        if not self._steps or self._steps[-1].number < number:
            self._steps.append(_Step(number))
        return self._steps[-1]


def _label(name: str, known: Mapping[str, object], most: int) -> str:
    return name if name in known or len(known) < most else OTHER


def counter(finished: Callable[[str, bool, float], None]) -> Callable[[Task, Task | None], None]:
    """A watcher of `Scheduler.on_change` that tells of attempts which are over: node, whether it went well, seconds."""

    def count(new: Task, old: Task | None) -> None:
        if old is None or old.state not in ACTIVE or new.state in ACTIVE or new.state is CANCELLED:
            return
        if new.state is not QUEUED:  # given back: nobody is to blame
            finished(old.node, new.state is COMPLETED, new.execution_time or 0.0)

    return count
