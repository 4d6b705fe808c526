"""Writes changes of tasks into SQLite: many rows a statement and few statements a transaction where all can be written,
one after the other where some cannot."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from orchestrator.adapters.sql.event_log.sqlite import add_batch
from orchestrator.adapters.sql.ledger.rows import (
    ALL,
    DONE,
    ENDED,
    FIXED,
    MOVING,
    Chains,
    deltas,
    ending,
    fixed,
    moving,
    unchained,
)
from orchestrator.adapters.sql.sqlite_program import Step
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.state import FINISHED, VALUES
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import News, Verdict

SIZES = (64, 32, 16, 8, 4, 3, 2, 1)  # rows of a statement: few texts, or each would be parsed again

# The text between the braces is made of this package's own names.
ADD_KEY = "INSERT INTO task_keys (principal, key, task) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
DROP_KEY = "DELETE FROM task_keys WHERE principal = ? AND key = ?"
REPLAY = f"""
INSERT INTO tasks ({", ".join(ALL)}) SELECT {", ".join(FIXED)}, {", ".join("?" * len(MOVING))}
FROM tasks_finished WHERE id = ? AND version = ? AND state = ?"""  # noqa: S608
REMOVE_FINISHED = "DELETE FROM tasks_finished WHERE id = ?"
Row = tuple[Any, ...]
HELD = 3  # values of `_held`


def _values(width: int, rows: int) -> str:
    return ", ".join([f"({', '.join('?' * width)})"] * rows)


@lru_cache(len(SIZES))
def _add(rows: int) -> str:
    return f"""
INSERT INTO tasks ({", ".join(ALL)}) SELECT * FROM (VALUES {_values(len(ALL), rows)}) AS v
WHERE NOT EXISTS (SELECT 1 FROM tasks_finished f WHERE f.id = v.column1) ON CONFLICT DO NOTHING"""  # noqa: S608


_ADD_FINISHED = f"""
INSERT INTO tasks_finished ({", ".join(ENDED)}) SELECT * FROM (VALUES {_values(len(ENDED), 1)}) AS v
WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = v.column1) ON CONFLICT DO NOTHING"""  # noqa: S608


@lru_cache(len(SIZES))
def _finish(rows: int) -> str:
    changing = len(ENDED) - len(FIXED)
    columns = [*(f"t.{name}" for name in FIXED), *(f"v.column{place + 1}" for place in range(changing))]
    held = " AND ".join(
        f"t.{name} = v.column{changing + place}" for place, name in enumerate(("id", "version", "state"), 1)
    )
    return f"""
INSERT INTO tasks_finished ({", ".join(ENDED)}) SELECT {", ".join(columns)}
FROM (VALUES {_values(changing + 3, rows)}) AS v CROSS JOIN tasks t ON {held}"""  # noqa: S608


@lru_cache(len(SIZES))
def _change(rows: int) -> str:
    new = ", ".join(f"{name} = v.column{place}" for place, name in enumerate(MOVING, 1))
    held = " AND ".join(
        f"t.{name} = v.column{len(MOVING) + place}" for place, name in enumerate(("id", "version", "state"), 1)
    )
    return f"UPDATE tasks AS t SET {new} FROM (VALUES {_values(len(MOVING) + 3, rows)}) AS v WHERE {held}"  # noqa: S608


@lru_cache(20)
def count(rows: int) -> str:
    return f"""
INSERT INTO task_counts (owner, state, now, ended) VALUES {", ".join(["('', ?, ?, ?)"] * rows)}
ON CONFLICT (owner, state) DO UPDATE SET now = now + excluded.now, ended = ended + excluded.ended"""  # noqa: S608


@lru_cache(len(SIZES))
def _remove(rows: int) -> str:
    return f"DELETE FROM tasks WHERE id IN ({', '.join('?' * rows)})"  # noqa: S608


def written_at_once(changes: Sequence[Change], chains: Chains) -> list[Step] | None:
    """The steps of a transaction that makes all of the changes, if all of them can be made; None when it must be found
    out which of them can."""
    if not chains.apart:
        return None
    adds: list[Any] = []
    finishes: list[Any] = []
    moves: list[Any] = []
    removed: list[Any] = []
    steps: list[Step] = []
    for change in chains.merged:
        task = change.task
        if change.expected == 0:
            if task.state in FINISHED:
                return None
            adds += fixed(task)
            adds += moving(task)
            if task.spec.idempotency_key:
                steps.append((ADD_KEY, _key(task), 1))
        elif change.before is None or change.before in FINISHED:
            return None
        elif task.state in FINISHED:
            finishes += moving(task)
            finishes += ending(task)
            finishes += _held(change)
            removed.append(task.spec.id)
        else:
            moves += moving(task)
            moves += _held(change)
    steps += _steps(_add, len(ALL), adds)
    steps += _steps(_finish, len(ENDED) - len(FIXED) + HELD, finishes)
    steps += _steps(_remove, 1, removed)
    steps += _steps(_change, len(MOVING) + HELD, moves)
    counted = deltas(changes, [DONE] * len(changes))
    if counted:
        steps.append((count(len(counted)), _flat(counted), None))
    return steps


def write_each(
    connection: sqlite3.Connection,
    changes: Sequence[Change],
    chains: Chains,
    news: News | None = None,
) -> list[Verdict]:
    """Within a transaction, one after the other. A verdict for each."""
    cursor = connection.cursor()
    verdicts = unchained([_write_one(cursor, change) for change in chains.merged], chains.places)
    counted = deltas(changes, verdicts)
    if counted:
        cursor.execute(count(len(counted)), _flat(counted))
    batch = news.of(verdicts) if news is not None else None
    if news is not None and batch is not None:
        news.number = add_batch(connection, batch)
    return verdicts


def _steps(statement: Callable[[int], str], width: int, values: list[Any]) -> list[Step]:
    """What writes the rows, and all of them: each has so many of the values."""
    steps: list[Step] = []
    start = 0
    for size in SIZES:
        while len(values) - start >= size * width:
            steps.append((statement(size), values[start : start + size * width], size))
            start += size * width
    return steps


def _flat(rows: Sequence[Row]) -> list[Any]:
    return [value for row in rows for value in row]


def _write_one(cursor: sqlite3.Cursor, change: Change) -> Verdict:
    task = change.task
    if change.expected == 0:
        return _add_one(cursor, task)
    if task.state in FINISHED:
        done = cursor.execute(_finish(1), (*moving(task), *ending(task), *_held(change))).rowcount
        if done:
            cursor.execute(_remove(1), (task.spec.id,))
    elif change.before is not None and change.before in FINISHED:
        done = cursor.execute(REPLAY, (*moving(task), *_held(change))).rowcount
        if done:
            cursor.execute(REMOVE_FINISHED, (task.spec.id,))
    else:
        done = cursor.execute(_change(1), (*moving(task), *_held(change))).rowcount
    return Verdict.DONE if done else Verdict.STALE


def _add_one(cursor: sqlite3.Cursor, task: Task) -> Verdict:
    has_key = bool(task.spec.idempotency_key)
    if has_key and not cursor.execute(ADD_KEY, _key(task)).rowcount:
        return Verdict.EXISTS
    if task.state in FINISHED:
        done = cursor.execute(_ADD_FINISHED, (*fixed(task), *moving(task), *ending(task))).rowcount
    else:
        done = cursor.execute(_add(1), (*fixed(task), *moving(task))).rowcount
    if done:
        return Verdict.DONE
    if has_key:
        cursor.execute(DROP_KEY, _key(task)[:2])
    return Verdict.EXISTS


def _key(task: Task) -> Row:
    return task.spec.principal, task.spec.idempotency_key, task.spec.id


def _held(change: Change) -> Row:
    """What the ledger must hold for a change to be made."""
    return change.task.spec.id, change.expected, VALUES[change.before] if change.before is not None else None
