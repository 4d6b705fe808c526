"""A task: what was asked for, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from orchestrator.domain.task.requirements import TaskClass
from orchestrator.domain.task.state import TaskState

PRIORITIES = {"critical": 1, "high": 2, "normal": 3, "low": 4, "background": 5}
LOWEST = 5
MAX_RESULT = 1 << 20  # bytes of a result that is kept in the ledger


class OnDependencyFailure(StrEnum):
    """What becomes of a task when one that it waits for does not complete."""

    FAIL = "fail"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts, in seconds: `base`, doubled with every attempt up to `most`."""

    base: float = 1.0
    most: float = 60.0

    def delay(self, attempts: int, rand: float) -> float:
        """The pause after the `attempts`-th failed attempt: within a quarter of its nominal length, so that tasks
        that failed together come back apart and each pause is longer than the one before. `rand` in [0, 1)."""
        nominal = min(self.base * 2.0 ** min(attempts - 1, 32), self.most)
        return nominal * (0.75 + 0.5 * rand)


class TaskSpec(NamedTuple):
    """What was submitted; never changes. Times are seconds since the epoch, spans seconds.

    `seq` orders tasks as they came. `input`, `metadata` and `requirements` are JSON as it was given; `of` is what was
    read from the latter. `timeout` is for one attempt. `deadline`: nothing is begun after it, and what runs then fails.
    `max_retries` attempts may follow the first. `principal` is whose share of the fleet it uses.
    """

    id: str
    seq: int
    of: TaskClass
    created_at: float
    priority: int = PRIORITIES["normal"]
    input: bytes = b"null"
    requirements: bytes = b"{}"
    metadata: bytes = b"{}"
    timeout: float = 300.0
    max_retries: int = 3
    backoff: Backoff = Backoff()
    deadline: float | None = None
    not_before: float | None = None
    callback_url: str = ""
    dependencies: tuple[str, ...] = ()
    on_dependency_failure: OnDependencyFailure = OnDependencyFailure.FAIL
    principal: str = ""
    idempotency_key: str = ""

    @property
    def type(self) -> str:
        return self.of.type


class Task(NamedTuple):
    """A task as it is now.

    `attempt` counts assignments and is the fencing token of the current one: whoever reports on an attempt must name
    it. `retries` counts attempts that are blamed on it. `wake_at` is when it is looked at again while it waits or
    pauses. `version` counts changes: a change is written only on top of the version it was made from. `owner` is the
    replica that looks after it. `waiting_for` are the tasks that it still waits for. `result` and `performance` are
    JSON as the node gave it.
    """

    spec: TaskSpec
    state: TaskState
    version: int = 1
    owner: str = ""
    attempt: int = 0
    retries: int = 0
    node: str = ""
    agent: str = ""
    waiting_for: frozenset[str] = frozenset()
    wake_at: float | None = None
    assigned_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    result: bytes | None = None
    performance: bytes | None = None
    error: str = ""
    progress: float | None = None  # 0 to 1
    note: str = ""
    replays: int = 0

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def execution_time(self) -> float | None:
        """Seconds from the start of the last attempt to the end."""
        begun = self.started_at or self.assigned_at
        return self.finished_at - begun if self.finished_at is not None and begun is not None else None

    @property
    def dead(self) -> bool:
        """Whether it is a dead letter: it failed for good, and nobody asked for that."""
        return self.state in (TaskState.FAILED, TaskState.TIMEOUT)
