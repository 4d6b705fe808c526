"""Where tasks are kept: the truth about every one of them.

Tasks that have not finished are in one place, those that have in another, so that the first stays small. A change is
made from the task as it was read, and written only while the ledger still holds that version: of two who change the
same task, one learns that it was late.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from orchestrator.domain.task.change import Change
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.event_log import EventBatch


class Verdict(StrEnum):
    DONE = "done"
    STALE = "stale"  # the ledger holds another version, or the task is gone: nothing was written
    EXISTS = "exists"  # an insert: the id, or the principal's idempotency key, is taken; nothing was written


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks, newest first; what is empty is any. `before` is the `seq` that ended the page before."""

    states: frozenset[TaskState] = frozenset()
    type: str = ""
    node: str = ""
    principal: str | None = None
    before: int | None = None
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks there are in each state, and since the beginning of the ledger how many ended how, as exact sums
    that cost nothing to read."""

    now: Mapping[TaskState, int] = field(default_factory=dict)  # finished ones as far as they are kept
    ended: Mapping[TaskState, int] = field(default_factory=dict)


def turn(task: Task) -> tuple[bool, int]:
    """Which of two is taken over first: one that a node had when its owner died, as a node can have it again; then the
    older one."""
    return not task.state.active, task.spec.seq


class News(Protocol):
    """The events that tell of changes, to be written in the same transaction."""

    number: int  # that they are written under; 0: they are not

    def of(self, verdicts: list[Verdict]) -> EventBatch | None:
        """Those of the changes that are made. Called by any thread, and again when other changes are made than was
        expected: what the last call gave is written."""


class Pipeline(Protocol):
    """A ledger that is asked for a commit while it is at work on another one."""

    async def commit_behind(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict] | None:
        """As `Ledger.commit`, before the last commit is answered. None: nothing is written, because that one could not
        be written as a whole, or it is not known whether it was. What is to be done about that one comes first."""


class Ledger(Protocol):
    """Every method raises StorageUnavailable when the database cannot be reached; the changes are then not made, or
    were made and the answer is lost."""

    pipeline: Pipeline | None  # None: one commit at a time

    async def commit(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict]:
        """Writes the changes in one durable transaction, in their order; a verdict for each. What is late or there
        already is left out, everything else is written. `news` goes along where it can: its number tells."""

    async def get(self, ids: Collection[str]) -> dict[str, Task]:
        """The tasks of these ids that exist, finished or not."""

    async def by_key(self, principal: str, key: str) -> Task | None:
        """The task that was submitted with this idempotency key."""

    async def page(self, query: TaskQuery) -> tuple[Task, ...]:
        """One page, newest first (by `seq`)."""

    async def counts(self) -> Counts: ...

    async def take_over(
        self, owner: str, *, seconds: float, alone: bool = False, limit: int = 5_000
    ) -> tuple[Task, ...]:
        """Says that `owner` lives for so many seconds more, by the database's clock, and gives it at most `limit`
        unfinished tasks of owners that no longer live (`alone`: of all others, where only one process can run), in the
        order of `turn`. Their version counts up. Call it again until nothing comes."""

    async def steal(self, owner: str, types: Collection[str], limit: int) -> tuple[Task, ...]:
        """Gives `owner` queued tasks of these types (none: of all) that other living owners have, best priority and
        oldest first, in a way that two who steal at once get different ones. Their version counts up."""
