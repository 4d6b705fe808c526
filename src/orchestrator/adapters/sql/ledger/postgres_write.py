"""Writes changes of tasks into PostgreSQL: all of them in one statement where all can be written, in waves where some
cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from orchestrator.adapters.sql.event_log.postgres import added as told_with
from orchestrator.adapters.sql.ledger.rows import ALL, ENDED, FIXED, MOVING, Chains, deltas, ending, fixed, moving
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import News, Verdict

_TYPES = {"seq": "bigint", "priority": "bigint", "version": "bigint", "finished_at": "float8"}


def _arrays(names: Sequence[str], first: int = 1) -> str:
    return ", ".join(f"${first + place}::{_TYPES.get(name, 'text')}[]" for place, name in enumerate(names))


_V = ", ".join(f"v.{name}" for name in MOVING)
_T = ", ".join(f"t.{name}" for name in FIXED)
_END = ("result", "performance", "finished_at")
LATE = "orchestrator makes these changes one by one, because at once it could make only"  # in the server's log
_HELD = "t.id = v.id AND t.version = v.expected AND t.state = v.before"


def _changed(names: Sequence[str], first: int) -> str:
    """What the ledger must hold for a change to be made, and these columns."""
    arrays = f"${first}::text[], ${first + 1}::bigint[], ${first + 2}::text[], {_arrays(names, first + 3)}"
    return f"unnest({arrays}) AS v (id, expected, before, {', '.join(names)})"


# Each of these has its first value at `$first`. Their text is made of this package's own names.


def _keyed(first: int) -> str:
    return f"""
INSERT INTO task_keys (principal, key, task)
SELECT * FROM unnest(${first}::text[], ${first + 1}::text[], ${first + 2}::text[])
ON CONFLICT DO NOTHING RETURNING task"""  # noqa: S608


def _added(first: int) -> str:
    return f"""
INSERT INTO tasks ({", ".join(ALL)}) SELECT v.* FROM unnest({_arrays(ALL, first)}) AS v ({", ".join(ALL)})
WHERE NOT EXISTS (SELECT 1 FROM tasks_finished f WHERE f.id = v.id) ON CONFLICT DO NOTHING RETURNING id"""  # noqa: S608


def _moved(first: int) -> str:
    return f"""
UPDATE tasks t SET {", ".join(f"{name} = v.{name}" for name in MOVING)}
FROM {_changed(MOVING, first)} WHERE {_HELD} RETURNING t.id"""  # noqa: S608


def _gone(first: int) -> str:
    return f"""
DELETE FROM tasks t USING {_changed((*MOVING, *_END), first)} WHERE {_HELD}
RETURNING {_T}, {_V}, v.result, v.performance, v.finished_at"""  # noqa: S608


def _counted(owner: int, first: int) -> str:
    """A row of its own for each replica: nobody waits for another's."""
    return f"""
INSERT INTO task_counts (owner, state, now, ended)
SELECT ${owner}, v.state, v.now, v.ended
FROM unnest(${first}::text[], ${first + 1}::bigint[], ${first + 2}::bigint[]) AS v (state, now, ended)
ON CONFLICT (owner, state)
DO UPDATE SET now = task_counts.now + excluded.now, ended = task_counts.ended + excluded.ended"""  # noqa: S608


ADD_KEYS = _keyed(1)
DROP_KEYS = """
DELETE FROM task_keys k USING unnest($1::text[], $2::text[]) AS v (principal, key)
WHERE k.principal = v.principal AND k.key = v.key"""
ADD = _added(1)
ADD_FINISHED = f"""
INSERT INTO tasks_finished ({", ".join(ENDED)}) SELECT v.* FROM unnest({_arrays(ENDED)}) AS v ({", ".join(ENDED)})
WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.id = v.id) ON CONFLICT DO NOTHING RETURNING id"""  # noqa: S608
CHANGE = _moved(1)
STORED = f"INSERT INTO tasks_finished ({', '.join(ENDED)}) SELECT * FROM gone RETURNING id"  # noqa: S608
FINISH = f"WITH gone AS ({_gone(1)}) {STORED}"
REPLAY = f"""
WITH gone AS (
    DELETE FROM tasks_finished t USING {_changed(MOVING, 1)} WHERE {_HELD} RETURNING {_T}, {_V})
INSERT INTO tasks ({", ".join(ALL)}) SELECT * FROM gone RETURNING id"""  # noqa: S608
COUNT = _counted(1, 2)


def written_at_once(
    changes: Sequence[Change], chains: Chains, news: News | None = None
) -> tuple[str, list[Any]] | None:
    """A statement and its values that make all of the changes, if all of them can be made, and otherwise fail, as what
    it says then (`LATE`) is no number, and make none: one way to the server and back, where one by one it is six. None
    when it must be found out which can be made. It gives the number of the `news`, 0 where there are none."""
    merged = chains.merged
    if not chains.apart:
        return None
    adds: list[Change] = []
    moves: list[Change] = []
    ends: list[Change] = []
    for change in merged:
        finished = change.task.state.finished
        if change.expected == 0:
            if finished:
                return None
            adds.append(change)
        elif change.before is None or change.before.finished:
            return None
        else:
            (ends if finished else moves).append(change)
    keys = sorted(_key(change.task) for change in adds if change.task.spec.idempotency_key)
    all_done = [Verdict.DONE] * len(changes)
    values: list[Any] = [len(keys) + len(merged), changes[0].task.owner]
    values += transposed(deltas(changes, all_done), 3)
    if keys:
        values += transposed(keys, 3)
    if adds:
        values += transposed([(*fixed(one.task), *moving(one.task)) for one in _in_order(adds)], len(ALL))
    if moves:
        values += transposed([(*_held(one), *moving(one.task)) for one in _in_order(moves)], 3 + len(MOVING))
    if ends:
        rows = [(*_held(one), *moving(one.task), *ending(one.task)) for one in _in_order(ends)]
        values += transposed(rows, 3 + len(MOVING) + len(_END))
    told = news.of(all_done) if news is not None else None
    if told is not None:
        values += [told.at, told.count, told.body]
    return _at_once(bool(keys), bool(adds), bool(moves), bool(ends), told is not None), values


@lru_cache(32)
def _at_once(keys: bool, adds: bool, moves: bool, ends: bool, told: bool) -> str:
    first = 3  # behind the number of rows and the owner
    parts = [f"counted AS ({_counted(2, first)})"]
    names: list[str] = []
    first += 3
    if keys:
        names.append("keyed")
        parts.append(f"keyed AS ({_keyed(first)})")
        first += 3
    if adds:
        names.append("added")
        parts.append(f"added AS ({_added(first)})")
        first += len(ALL)
    if moves:
        names.append("moved")
        parts.append(f"moved AS ({_moved(first)})")
        first += 3 + len(MOVING)
    if ends:
        names.append("stored")
        parts += [f"gone AS ({_gone(first)})", f"stored AS ({STORED})"]
        first += 3 + len(MOVING) + len(_END)
    if told:
        parts.append(told_with(first))
    number = "coalesce((SELECT number FROM told), 0)" if told else "0"
    rows = " + ".join(f"(SELECT count(*) FROM {name})" for name in names)  # noqa: S608
    return f"""WITH {", ".join(parts)}
SELECT CASE WHEN n = $1::bigint THEN {number} ELSE ('{LATE} ' || n || ' of ' || $1::bigint)::int END
FROM (SELECT {rows} AS n) AS done"""  # noqa: S608


def waves(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """The changes in their order, no task and no idempotency key twice in one part."""
    wave: list[Change] = []
    seen: set[object] = set()
    for change in changes:
        spec = change.task.spec
        names: set[object] = {spec.id}
        if change.expected == 0 and spec.idempotency_key:
            names.add((spec.principal, spec.idempotency_key))
        if not seen.isdisjoint(names):
            yield wave
            wave, seen = [], set()
        wave.append(change)
        seen |= names
    if wave:
        yield wave


async def write(connection: Any, wave: list[Change]) -> list[Verdict]:
    kinds: dict[str, list[Change]] = {}
    for change in wave:
        kinds.setdefault(_kind(change), []).append(change)
    done: set[str] = set()
    for kind, changes in kinds.items():
        ordered = _in_order(changes)
        done |= await (_move(connection, kind, ordered) if changes[0].expected else _add(connection, kind, ordered))
    return [
        Verdict.DONE if change.task.id in done else Verdict.STALE if change.expected else Verdict.EXISTS
        for change in wave
    ]


def _kind(change: Change) -> str:
    finished = change.task.state.finished
    if change.expected == 0:
        return ADD_FINISHED if finished else ADD
    if finished:
        return FINISH
    return REPLAY if change.before is not None and change.before.finished else CHANGE


async def _add(connection: Any, statement: str, changes: list[Change]) -> set[str]:
    tasks = [change.task for change in changes]
    keys = {task.id: _key(task) for task in tasks if task.spec.idempotency_key}
    if keys:
        named = sorted(keys.values())
        fresh = {row[0] for row in await connection.fetch(ADD_KEYS, *transposed(named, 3))}
        tasks = [task for task in tasks if task.id not in keys or task.id in fresh]
    ends = statement == ADD_FINISHED
    rows = [(*fixed(task), *moving(task), *(ending(task) if ends else ())) for task in tasks]
    found = await connection.fetch(statement, *transposed(rows, len(ENDED if ends else ALL)))
    done = {row[0] for row in found}
    unused = [keys[task.id][:2] for task in tasks if task.id in keys and task.id not in done]
    if unused:
        await connection.execute(DROP_KEYS, *transposed(unused, 2))
    return done


async def _move(connection: Any, statement: str, changes: list[Change]) -> set[str]:
    ends = statement == FINISH
    rows = [(*_held(one), *moving(one.task), *(ending(one.task) if ends else ())) for one in changes]
    width = 3 + len(MOVING) + (len(_END) if ends else 0)
    return {row[0] for row in await connection.fetch(statement, *transposed(rows, width))}


def _in_order(changes: Sequence[Change]) -> list[Change]:
    """The same for all, so that replicas rarely deadlock."""
    return sorted(changes, key=lambda change: change.task.spec.id)


def _key(task: Task) -> tuple[str, str, str]:
    return task.spec.principal, task.spec.idempotency_key, task.spec.id


def _held(change: Change) -> tuple[Any, ...]:
    """What the ledger must hold for a change to be made."""
    return change.task.spec.id, change.expected, change.before and change.before.value


def transposed(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
