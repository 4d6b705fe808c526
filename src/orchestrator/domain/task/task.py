"""A task: what was asked for, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from orchestrator.domain.task.requirements import TaskClass
from orchestrator.domain.task.state import TaskState

PRIORITIES = {"critical": 1, "high": 2, "normal": 3, "low": 4, "background": 5}
NORMAL = PRIORITIES["normal"]
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


STANDARD_BACKOFF = Backoff()
NOBODY: frozenset[str] = frozenset()
SPEC_FIELDS = (
    "id",
    "seq",
    "of",
    "created_at",
    "priority",
    "input",
    "requirements",
    "metadata",
    "timeout",
    "max_retries",
    "backoff",
    "deadline",
    "not_before",
    "callback_url",
    "dependencies",
    "on_dependency_failure",
    "principal",
    "idempotency_key",
)
TASK_FIELDS = (
    "spec",
    "state",
    "version",
    "owner",
    "attempt",
    "retries",
    "node",
    "agent",
    "waiting_for",
    "wake_at",
    "assigned_at",
    "started_at",
    "finished_at",
    "result",
    "performance",
    "error",
    "progress",
    "note",
    "replays",
)


class TaskSpec:
    """What was submitted; never changes. Times are seconds since the epoch, spans seconds.

    `seq` orders tasks as they came. `input`, `metadata` and `requirements` are JSON as it was given; `of` is what was
    read from the latter. `timeout` is for one attempt. `deadline`: nothing is begun after it, and what runs then fails.
    `max_retries` attempts may follow the first. `principal` is whose share of the fleet it uses.
    """

    __slots__ = SPEC_FIELDS

    def __init__(
        self,
        id: str,
        seq: int,
        of: TaskClass,
        created_at: float,
        priority: int = NORMAL,
        input: bytes = b"null",
        requirements: bytes = b"{}",
        metadata: bytes = b"{}",
        timeout: float = 300.0,
        max_retries: int = 3,
        backoff: Backoff = STANDARD_BACKOFF,
        deadline: float | None = None,
        not_before: float | None = None,
        callback_url: str = "",
        dependencies: tuple[str, ...] = (),
        on_dependency_failure: OnDependencyFailure = OnDependencyFailure.FAIL,
        principal: str = "",
        idempotency_key: str = "",
    ) -> None:
        self.id = id
        self.seq = seq
        self.of = of
        self.created_at = created_at
        self.priority = priority
        self.input = input
        self.requirements = requirements
        self.metadata = metadata
        self.timeout = timeout
        self.max_retries = max_retries
        self.backoff = backoff
        self.deadline = deadline
        self.not_before = not_before
        self.callback_url = callback_url
        self.dependencies = dependencies
        self.on_dependency_failure = on_dependency_failure
        self.principal = principal
        self.idempotency_key = idempotency_key

    @property
    def type(self) -> str:
        return self.of.type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskSpec) and _values(self, SPEC_FIELDS) == _values(other, SPEC_FIELDS)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return _shown(self, SPEC_FIELDS)

    def replace(self, **changes: Any) -> TaskSpec:
        """Another one with these fields."""
        return TaskSpec(**{name: getattr(self, name) for name in SPEC_FIELDS} | changes)


class Task:
    """A task as it is now. Never changes once it is made: `lifecycle` makes the next one.

    `attempt` counts assignments and is the fencing token of the current one: whoever reports on an attempt must name
    it. `retries` counts attempts that are blamed on it. `wake_at` is when it is looked at again while it waits or
    pauses. `version` counts changes: a change is written only on top of the version it was made from. `owner` is the
    replica that looks after it. `waiting_for` are the tasks that it still waits for. `progress` is from 0 to 1.
    `result` and `performance` are JSON as the node gave it.
    """

    __slots__ = TASK_FIELDS

    def __init__(
        self,
        spec: TaskSpec,
        state: TaskState,
        version: int = 1,
        owner: str = "",
        attempt: int = 0,
        retries: int = 0,
        node: str = "",
        agent: str = "",
        waiting_for: frozenset[str] = NOBODY,
        wake_at: float | None = None,
        assigned_at: float | None = None,
        started_at: float | None = None,
        finished_at: float | None = None,
        result: bytes | None = None,
        performance: bytes | None = None,
        error: str = "",
        progress: float | None = None,
        note: str = "",
        replays: int = 0,
    ) -> None:
        self.spec = spec
        self.state = state
        self.version = version
        self.owner = owner
        self.attempt = attempt
        self.retries = retries
        self.node = node
        self.agent = agent
        self.waiting_for = waiting_for
        self.wake_at = wake_at
        self.assigned_at = assigned_at
        self.started_at = started_at
        self.finished_at = finished_at
        self.result = result
        self.performance = performance
        self.error = error
        self.progress = progress
        self.note = note
        self.replays = replays

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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and _values(self, TASK_FIELDS) == _values(other, TASK_FIELDS)

    def __hash__(self) -> int:
        return hash((self.spec.id, self.version))

    def __repr__(self) -> str:
        return _shown(self, TASK_FIELDS)

    def following(self, state: TaskState) -> Task:
        """A copy in this state, one version later. `lifecycle` changes it before anybody else sees it."""
        return Task(
            self.spec,
            state,
            self.version + 1,
            self.owner,
            self.attempt,
            self.retries,
            self.node,
            self.agent,
            self.waiting_for,
            self.wake_at,
            self.assigned_at,
            self.started_at,
            self.finished_at,
            self.result,
            self.performance,
            self.error,
            self.progress,
            self.note,
            self.replays,
        )

    def replace(self, **changes: Any) -> Task:
        """Another one with these fields."""
        return Task(**{name: getattr(self, name) for name in TASK_FIELDS} | changes)


def _values(one: object, names: tuple[str, ...]) -> list[object]:
    return [getattr(one, name) for name in names]


def _shown(one: object, names: tuple[str, ...]) -> str:
    fields = ", ".join(f"{name}={getattr(one, name)!r}" for name in names)
    return f"{type(one).__name__}({fields})"
