"""Writes changes of tasks into SQLite, many rows a statement and few statements a transaction: with each the thread has
to wait for its turn among the others of the process, which is most of what it costs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from orchestrator.adapters.sql.event_log.sqlite import add_batch
from orchestrator.adapters.sql.ledger.rows import (
    ALL,
    ENDED,
    FIXED,
    MOVING,
    deltas,
    ending,
    fixed,
    moving,
    unchained,
)
from orchestrator.adapters.sql.sqlite_thread import BEGIN
from orchestrator.domain.task.change import Change
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


def _values(width: int, rows: int) -> str:
    return ", ".join([f"({', '.join('?' * width)})"] * rows)


@lru_cache(len(SIZES))
def _add(rows: int) -> str:
    return f"""
INSERT INTO tasks ({", ".join(ALL)}) SELECT * FROM (VALUES {_values(len(ALL), rows)}) AS v
WHERE NOT EXISTS (SELECT 1 FROM tasks_finished f WHERE f.id = v.column1) ON CONFLICT DO NOTHING"""  # noqa: S608


@lru_cache(len(SIZES))
def _add_finished(rows: int) -> str:
    return f"""
INSERT INTO tasks_finished ({", ".join(ENDED)}) SELECT * FROM (VALUES {_values(len(ENDED), rows)}) AS v
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


def write(
    connection: sqlite3.Connection,
    changes: Sequence[Change],
    merged: Sequence[Change],
    places: Sequence[int],
    news: News | None = None,
) -> list[Verdict]:
    """Within a transaction. A verdict for each; `merged` and `places` are what `chained` makes of the changes."""
    cursor = connection.cursor()
    if _all_written(cursor, merged):
        verdicts = [Verdict.DONE] * len(changes)
    else:
        cursor.execute("ROLLBACK")
        cursor.execute(BEGIN)
        verdicts = unchained([_write_one(cursor, change) for change in merged], places)
    counted = deltas(changes, verdicts)
    if counted:
        cursor.execute(count(len(counted)), [value for row in counted for value in row])
    batch = news.of(verdicts) if news is not None else None
    if news is not None and batch is not None:
        news.number = add_batch(connection, batch)
    return verdicts


def _all_written(cursor: sqlite3.Cursor, changes: Sequence[Change]) -> bool:
    """Whether all of the changes could be made. If not, it must be found out anew which of them can."""
    adds: list[Row] = []
    finishes: list[Row] = []
    moves: list[Row] = []
    keys: list[Row] = []
    for change in changes:
        task = change.task
        if change.expected == 0:
            if task.state.finished:
                return False
            adds.append((*fixed(task), *moving(task)))
            if task.spec.idempotency_key:
                keys.append(_key(task))
        elif change.before is None or change.before.finished:
            return False
        elif task.state.finished:
            finishes.append((*moving(task), *ending(task), *_held(change)))
        else:
            moves.append((*moving(task), *_held(change)))
    if len({change.task.spec.id for change in changes}) < len(changes):
        return False
    return (
        (not keys or cursor.executemany(ADD_KEY, keys).rowcount == len(keys))
        and _count(cursor, _add, adds) == len(adds)
        and _count(cursor, _finish, finishes) == len(finishes)
        and _count(cursor, _remove, [row[-3:-2] for row in finishes]) == len(finishes)
        and _count(cursor, _change, moves) == len(moves)
    )


def _count(cursor: sqlite3.Cursor, statement: Callable[[int], str], rows: Sequence[Row]) -> int:
    """How many rows the statement wrote."""
    written = 0
    for part in _parts(rows):
        written += cursor.execute(statement(len(part)), [value for row in part for value in row]).rowcount
    return written


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start = 0
    for size in SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _write_one(cursor: sqlite3.Cursor, change: Change) -> Verdict:
    task = change.task
    if change.expected == 0:
        return _add_one(cursor, task)
    if task.state.finished:
        done = _count(cursor, _finish, [(*moving(task), *ending(task), *_held(change))])
        if done:
            cursor.execute(_remove(1), (task.spec.id,))
    elif change.before is not None and change.before.finished:
        done = cursor.execute(REPLAY, (*moving(task), *_held(change))).rowcount
        if done:
            cursor.execute(REMOVE_FINISHED, (task.spec.id,))
    else:
        done = _count(cursor, _change, [(*moving(task), *_held(change))])
    return Verdict.DONE if done else Verdict.STALE


def _add_one(cursor: sqlite3.Cursor, task: Task) -> Verdict:
    has_key = bool(task.spec.idempotency_key)
    if has_key and not cursor.execute(ADD_KEY, _key(task)).rowcount:
        return Verdict.EXISTS
    if task.state.finished:
        done = _count(cursor, _add_finished, [(*fixed(task), *moving(task), *ending(task))])
    else:
        done = _count(cursor, _add, [(*fixed(task), *moving(task))])
    if done:
        return Verdict.DONE
    if has_key:
        cursor.execute(DROP_KEY, _key(task)[:2])
    return Verdict.EXISTS


def _key(task: Task) -> Row:
    return task.spec.principal, task.spec.idempotency_key, task.spec.id


def _held(change: Change) -> Row:
    """What the ledger must hold for a change to be made."""
    return change.task.spec.id, change.expected, change.before and change.before.value
