"""The ledger in PostgreSQL, for any number of processes. Plans are pinned: what they would cost grows with the table
until somebody runs ANALYZE (docs/adr/0009)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.adapters.sql.ledger.rows import (
    ALL,
    ENDED,
    FIXED,
    MOVING,
    READ_ENDED,
    READ_HOT,
    check,
    deltas,
    ending,
    fixed,
    moving,
    tables,
    task_of,
)
from orchestrator.adapters.sql.location import PostgresServer
from orchestrator.domain.errors import ConfigurationError, StorageUnavailable
from orchestrator.domain.storable import is_key
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import Task
from orchestrator.ports.ledger import Change, Counts, TaskQuery, Verdict

if TYPE_CHECKING:
    import asyncpg

CONNECTIONS = 4
COMMAND_TIMEOUT = 60.0  # seconds for one statement
PINNED = {
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
_TYPES = {"seq": "bigint", "priority": "bigint", "version": "bigint", "finished_at": "float8"}


def _arrays(names: Sequence[str], first: int = 1) -> str:
    return ", ".join(f"${first + place}::{_TYPES.get(name, 'text')}[]" for place, name in enumerate(names))


_V = ", ".join(f"v.{name}" for name in MOVING)
_T = ", ".join(f"t.{name}" for name in FIXED)
ADD_KEYS = """
INSERT INTO task_keys (principal, key, task) SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
ON CONFLICT DO NOTHING RETURNING task"""
DROP_KEYS = "DELETE FROM task_keys WHERE task = ANY($1::text[]) AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = task)"
ADD = f"""
INSERT INTO tasks ({", ".join(ALL)}) SELECT v.* FROM unnest({_arrays(ALL)}) AS v ({", ".join(ALL)})
WHERE NOT EXISTS (SELECT 1 FROM tasks_finished f WHERE f.id = v.id) ON CONFLICT DO NOTHING RETURNING id"""  # noqa: S608
CHANGE = f"""
UPDATE tasks t SET {", ".join(f"{name} = v.{name}" for name in MOVING)}
FROM unnest({_arrays(MOVING)}, $6::text[], $7::bigint[]) AS v ({", ".join(MOVING)}, id, expected)
WHERE t.id = v.id AND t.version = v.expected RETURNING t.id"""  # noqa: S608
FINISH = f"""
WITH gone AS (
    DELETE FROM tasks t USING unnest($9::text[], $10::bigint[]) AS w (id, expected)
    WHERE t.id = w.id AND t.version = w.expected RETURNING t.*)
INSERT INTO tasks_finished ({", ".join(ENDED)})
SELECT {_T}, {_V}, v.result, v.performance, v.finished_at FROM gone t
JOIN unnest({_arrays((*MOVING, "result", "performance", "finished_at"))}, $9::text[])
    AS v ({", ".join(MOVING)}, result, performance, finished_at, id) ON v.id = t.id
RETURNING id"""  # noqa: S608
REPLAY = f"""
WITH gone AS (
    DELETE FROM tasks_finished t USING unnest($6::text[], $7::bigint[]) AS w (id, expected)
    WHERE t.id = w.id AND t.version = w.expected RETURNING t.*)
INSERT INTO tasks ({", ".join(ALL)})
SELECT {_T}, {_V} FROM gone t JOIN unnest({_arrays(MOVING)}, $6::text[]) AS v ({", ".join(MOVING)}, id) ON v.id = t.id
RETURNING id"""  # noqa: S608
COUNT = """
INSERT INTO task_counts (owner, state, now, ended)
SELECT $1, v.state, v.now, v.ended FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS v (state, now, ended)
ON CONFLICT (owner, state)
DO UPDATE SET now = task_counts.now + excluded.now, ended = task_counts.ended + excluded.ended"""
COUNTS = "SELECT state, sum(now)::bigint, sum(ended)::bigint FROM task_counts GROUP BY state"
NOW = "extract(epoch FROM clock_timestamp())"
LIVE = f"""
INSERT INTO replicas (id, until) VALUES ($1, {NOW} + $2) ON CONFLICT (id) DO UPDATE SET until = excluded.until"""  # noqa: S608
FORGET = f"DELETE FROM replicas WHERE until < {NOW} - 3600"  # noqa: S608
_COLUMNS = ", ".join(f"t.{name}" for name in ALL) + ", NULL::text, NULL::text, NULL::float8"
TAKE = f"""
UPDATE tasks t SET owner = $1, version = t.version + 1 WHERE t.id IN (
    SELECT id FROM tasks WHERE owner != $1
    AND ($2 OR NOT EXISTS (SELECT 1 FROM replicas r WHERE r.id = tasks.owner AND r.until > {NOW}))
    ORDER BY seq LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}"""  # noqa: S608
STEAL = f"""
UPDATE tasks t SET owner = $1, version = t.version + 1 WHERE t.id IN (
    SELECT id FROM tasks WHERE state = 'queued' AND owner != $1
    AND EXISTS (SELECT 1 FROM replicas r WHERE r.id = tasks.owner AND r.until > {NOW})
    AND ($2::text[] = '{{}}' OR type = ANY($2::text[]))
    ORDER BY priority, seq LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}"""  # noqa: S608


class PostgresLedger:
    """`Ledger`. Opened when it is first used."""

    def __init__(self, location: PostgresServer) -> None:
        self._location = location
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def commit(self, changes: Sequence[Change]) -> list[Verdict]:
        check(changes)
        async with self._connection() as connection, connection.transaction():
            verdicts: list[Verdict] = []
            for wave in _waves(changes):
                verdicts += await _write(connection, wave)
            counted = deltas(changes, verdicts)
            if counted:
                # A row of its own for each replica: nobody waits for another's.
                await connection.execute(COUNT, changes[0].task.owner, *map(list, zip(*counted, strict=True)))
        return verdicts

    async def get(self, ids: Collection[str]) -> dict[str, Task]:
        wanted = [task_id for task_id in ids if is_key(task_id)]
        if not wanted:
            return {}
        both = (
            f"SELECT {READ_HOT} FROM tasks WHERE id = ANY($1::text[]) UNION ALL "  # noqa: S608
            f"SELECT {READ_ENDED} FROM tasks_finished WHERE id = ANY($1::text[])"
        )
        async with self._connection() as connection:
            rows = await connection.fetch(both, wanted)
        return {task.id: task for task in map(task_of, rows)}

    async def by_key(self, principal: str, key: str) -> Task | None:
        if not (is_key(principal) and is_key(key)):
            return None
        async with self._connection() as connection:
            found = await connection.fetchval(
                "SELECT task FROM task_keys WHERE principal = $1 AND key = $2", principal, key
            )
        return (await self.get([found])).get(found) if found is not None else None

    async def page(self, query: TaskQuery) -> tuple[Task, ...]:
        if not all(map(is_key, (query.type, query.node, query.principal or ""))):
            return ()
        where, values = _where(query)
        reach = query.offset + query.limit
        hot, ended = tables(query)
        rows: list[Sequence[Any]] = []
        async with self._connection() as connection:
            for wanted, table, columns in ((hot, "tasks", READ_HOT), (ended, "tasks_finished", READ_ENDED)):
                if wanted:
                    page = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY seq DESC LIMIT {reach}"  # noqa: S608
                    rows += await connection.fetch(page, *values)
        rows.sort(key=lambda row: -row[1])
        return tuple(map(task_of, rows[query.offset : reach]))

    async def counts(self) -> Counts:
        async with self._connection() as connection:
            rows = await connection.fetch(COUNTS)
        return Counts(
            {TaskState(state): now for state, now, _ in rows if now},
            {TaskState(state): ended for state, _, ended in rows if ended},
        )

    async def take_over(
        self, owner: str, *, seconds: float, alone: bool = False, limit: int = 5_000
    ) -> tuple[Task, ...]:
        async with self._connection() as connection, connection.transaction():
            await connection.execute(FORGET)
            await connection.execute(LIVE, owner, seconds)
            rows = await connection.fetch(TAKE, owner, alone, limit)
        return tuple(sorted(map(task_of, rows), key=lambda task: task.spec.seq))

    async def steal(self, owner: str, types: Collection[str], limit: int) -> tuple[Task, ...]:
        async with self._connection() as connection, connection.transaction():
            rows = await connection.fetch(STEAL, owner, sorted(types), limit)
        return tuple(sorted(map(task_of, rows), key=lambda task: (task.spec.priority, task.spec.seq)))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        import asyncpg

        try:
            pool = await self._open()
            async with pool.acquire(timeout=self._location.connect_timeout) as connection:
                yield connection
        except asyncpg.PostgresError as error:
            # Classes 28, 3D and 42: credentials, unknown database, unknown name. Waiting does not mend them.
            kind = ConfigurationError if (error.sqlstate or "")[:2] in {"28", "3D", "42"} else StorageUnavailable
            raise kind(f"{self._location}: {str(error).partition(chr(10))[0]}") from error
        except (asyncpg.InterfaceError, OSError, TimeoutError) as error:
            text = str(error).partition("\n")[0] or "no answer in time"
            raise StorageUnavailable(f"{self._location}: {text}") from error

    async def _open(self) -> asyncpg.Pool[asyncpg.Record]:
        import asyncpg

        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._location.dsn,
                    min_size=0,
                    max_size=CONNECTIONS,
                    timeout=self._location.connect_timeout,
                    command_timeout=COMMAND_TIMEOUT,
                    server_settings=PINNED,
                )
            return self._pool


def _waves(changes: Sequence[Change]) -> Iterable[list[Change]]:
    """The changes in their order, no task twice in one part."""
    wave: list[Change] = []
    seen: set[str] = set()
    for change in changes:
        if change.task.id in seen:
            yield wave
            wave, seen = [], set()
        wave.append(change)
        seen.add(change.task.id)
    if wave:
        yield wave


async def _write(connection: Any, wave: list[Change]) -> list[Verdict]:
    kinds: dict[str, list[Change]] = {}
    for change in wave:
        kinds.setdefault(_kind(change), []).append(change)
    done: set[str] = set()
    for kind, changes in kinds.items():
        done |= await (_add(connection, changes) if kind == ADD else _move(connection, kind, changes))
    return [
        Verdict.DONE if change.task.id in done else Verdict.STALE if change.expected else Verdict.EXISTS
        for change in wave
    ]


def _kind(change: Change) -> str:
    if change.expected == 0:
        return ADD
    if change.task.state.finished:
        return FINISH
    return REPLAY if change.before is not None and change.before.finished else CHANGE


async def _add(connection: Any, changes: list[Change]) -> set[str]:
    tasks = [change.task for change in changes]
    keyed = [task for task in tasks if task.spec.idempotency_key]
    if keyed:
        first = {(task.spec.principal, task.spec.idempotency_key): task for task in reversed(keyed)}
        rows = await connection.fetch(
            ADD_KEYS,
            [principal for principal, _ in first],
            [key for _, key in first],
            [task.id for task in first.values()],
        )
        fresh = {row[0] for row in rows}
        tasks = [task for task in tasks if not task.spec.idempotency_key or task.id in fresh]
    rows = await connection.fetch(ADD, *_columns([(*fixed(task), *moving(task)) for task in tasks], len(ALL)))
    done = {row[0] for row in rows}
    if keyed and len(done) < len(tasks):
        await connection.execute(DROP_KEYS, [task.id for task in keyed if task.id not in done and task.id in fresh])
    return done


async def _move(connection: Any, statement: str, changes: list[Change]) -> set[str]:
    with_end = statement == FINISH
    rows = [(*moving(change.task), *(ending(change.task) if with_end else ())) for change in changes]
    width = len(MOVING) + (3 if with_end else 0)
    ids, expected = [change.task.id for change in changes], [change.expected for change in changes]
    found = await connection.fetch(statement, *_columns(rows, width), ids, expected)
    return {row[0] for row in found}


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _where(query: TaskQuery) -> tuple[str, list[Any]]:
    conditions = ["true"]
    values: list[Any] = []
    for condition, value in (
        ("type =", query.type or None),
        ("node =", query.node or None),
        ("principal =", query.principal),
        ("seq <", query.before),
    ):
        if value is not None:
            values.append(value)
            conditions.append(f"{condition} ${len(values)}")
    if query.states:
        values.append(sorted(query.states))
        conditions.append(f"state = ANY(${len(values)}::text[])")
    return " AND ".join(conditions), values
