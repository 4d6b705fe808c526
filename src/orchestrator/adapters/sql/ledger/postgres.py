"""The ledger in PostgreSQL, for any number of processes. Plans are pinned: what they would cost grows with the table
until somebody runs ANALYZE (docs/adr/0009-task-ledger.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.adapters.sql.cancelling import cancellation_kept
from orchestrator.adapters.sql.ledger.postgres_write import (
    COUNT,
    DROP_KEYS,
    transposed,
    waves,
    write,
    written_at_once,
)
from orchestrator.adapters.sql.ledger.rows import (
    ACTIVE,
    ALL,
    IDLE,
    READ_ENDED,
    READ_HOT,
    Chains,
    check,
    counts_of,
    deltas,
    filters_of,
    keys_of,
    searched,
    task_of,
    unchained,
)
from orchestrator.adapters.sql.location import PostgresServer
from orchestrator.domain.errors import ConfigurationError, StorageUnavailable
from orchestrator.domain.storable import is_key
from orchestrator.domain.task.change import Change
from orchestrator.domain.task.state import TaskState
from orchestrator.domain.task.task import LOWEST, Task
from orchestrator.ports.ledger import Counts, News, Pipeline, TaskQuery, Verdict, turn

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")
Work = Callable[[Any], Awaitable[T]]
CONNECTIONS = 4
TRIES = CONNECTIONS + 1  # a restarted server leaves a pool of dead connections
CLOSING = 5.0  # seconds that statements have to end when the service stops
COMMAND_TIMEOUT = 60.0  # seconds for one statement
PINNED = {
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
FAR = 2**63 - 1
_OPEN = [*ACTIVE, *IDLE]
LAST_KEPT = "SELECT seq FROM tasks_finished WHERE state = $1 ORDER BY seq DESC LIMIT 1 OFFSET $2"
PRUNE = """
DELETE FROM tasks_finished WHERE id IN (
    SELECT id FROM tasks_finished WHERE state = $1 AND seq <= $2 ORDER BY seq LIMIT $3 FOR UPDATE SKIP LOCKED)
RETURNING principal, spec"""
COUNTS = "SELECT state, sum(now)::bigint, sum(ended)::bigint FROM task_counts GROUP BY state"
NOW = "extract(epoch FROM clock_timestamp())"
LIVE = f"""
INSERT INTO replicas (id, until) VALUES ($1, {NOW} + $2) ON CONFLICT (id) DO UPDATE SET until = excluded.until"""  # noqa: S608
# The counts of a replica that is long gone become part of those of nobody.
FORGET = f"""
WITH gone AS (DELETE FROM replicas WHERE until < {NOW} - 3600 RETURNING id),
counted AS (DELETE FROM task_counts c USING gone g WHERE c.owner = g.id RETURNING c.state, c.now, c.ended)
INSERT INTO task_counts (owner, state, now, ended)
SELECT '', state, sum(now), sum(ended) FROM counted GROUP BY state ORDER BY state
ON CONFLICT (owner, state)
DO UPDATE SET now = task_counts.now + excluded.now, ended = task_counts.ended + excluded.ended"""  # noqa: S608
# Who has unfinished tasks, found without reading them all. From the end: an owner's entries in the index begin with
# those of assigned tasks, and all that were assigned since the last vacuum are still there.
_OWNERS = """
WITH RECURSIVE found (owner) AS (
    (SELECT owner FROM tasks ORDER BY owner DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT t.owner FROM tasks t WHERE t.owner < f.owner ORDER BY t.owner DESC LIMIT 1)
    FROM found f WHERE f.owner IS NOT NULL),
owners AS (SELECT owner FROM found WHERE owner IS NOT NULL)"""
_PRIORITIES = f"generate_series(1, {LOWEST})"
_LIVES = f"EXISTS (SELECT 1 FROM replicas r WHERE r.id = o.owner AND r.until > {NOW})"  # noqa: S608
_GIVE = f"""
UPDATE tasks t SET owner = $1, version = t.version + 1 FROM picked p WHERE t.id = p.id
RETURNING {", ".join(f"t.{name}" for name in ALL)}, NULL::text, NULL::text, NULL::float8"""  # noqa: S608
TAKE = f"""
{_OWNERS},
picked AS MATERIALIZED (
    SELECT c.id FROM owners o CROSS JOIN unnest($4::text[]) AS s (state) CROSS JOIN {_PRIORITIES} AS p (priority)
    CROSS JOIN LATERAL (
        SELECT id, seq FROM tasks WHERE owner = o.owner AND state = s.state AND priority = p.priority
        ORDER BY seq LIMIT $3 FOR UPDATE SKIP LOCKED) AS c
    WHERE o.owner != $1 AND ($2 OR NOT {_LIVES}) ORDER BY s.state != ALL ($5::text[]), c.seq LIMIT $3)
{_GIVE}"""  # noqa: S608
STEAL = f"""
{_OWNERS},
picked AS MATERIALIZED (
    SELECT c.id FROM owners o CROSS JOIN {_PRIORITIES} AS p (priority)
    CROSS JOIN LATERAL (
        SELECT id, seq FROM tasks WHERE owner = o.owner AND state = 'queued' AND priority = p.priority
        AND ($2 OR type = ANY($3::text[])) ORDER BY seq LIMIT $4 FOR UPDATE SKIP LOCKED) AS c
    WHERE o.owner != $1 AND {_LIVES} ORDER BY p.priority, c.seq LIMIT $4)
{_GIVE}"""  # noqa: S608
_FILTERS = ("node", "type", "principal")


def _page(filters: Sequence[str]) -> str:
    """For the plan the columns that are asked for must be written out: each has an index of its own."""
    suits = "seq < $3" + "".join(f" AND {name} = ${place}" for place, name in enumerate(filters, 7))
    return f"""
{_OWNERS},
picked AS (
    SELECT c.id, c.seq, false AS ended
    FROM owners o CROSS JOIN unnest($1::text[]) AS s (state) CROSS JOIN {_PRIORITIES} AS p (priority)
    CROSS JOIN LATERAL (
        SELECT id, seq FROM tasks WHERE owner = o.owner AND state = s.state AND priority = p.priority AND {suits}
        ORDER BY seq DESC LIMIT $4) AS c
    UNION ALL
    SELECT c.id, c.seq, true FROM unnest($2::text[]) AS s (state) CROSS JOIN LATERAL (
        SELECT id, seq FROM tasks_finished WHERE state = s.state AND {suits} ORDER BY seq DESC LIMIT $4) AS c),
page AS MATERIALIZED (SELECT id, ended FROM picked ORDER BY seq DESC OFFSET $5 LIMIT $6)
SELECT {READ_HOT} FROM tasks WHERE id IN (SELECT id FROM page WHERE NOT ended)
UNION ALL SELECT {READ_ENDED} FROM tasks_finished WHERE id IN (SELECT id FROM page WHERE ended)"""  # noqa: S608


PAGES = {names: _page(names) for count in range(len(_FILTERS) + 1) for names in combinations(_FILTERS, count)}
GET = f"""
SELECT {READ_HOT} FROM tasks WHERE id = ANY($1::text[])
UNION ALL SELECT {READ_ENDED} FROM tasks_finished WHERE id = ANY($1::text[])"""  # noqa: S608
BY_KEY = "SELECT task FROM task_keys WHERE principal = $1 AND key = $2"


class PostgresLedger:
    """`Ledger` and `TaskArchive`. Opened when it is first used."""

    def __init__(self, location: PostgresServer) -> None:
        self.pipeline: Pipeline | None = None
        self._location = location
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), CLOSING)
            except TimeoutError:
                pool.terminate()

    async def commit(self, changes: Sequence[Change], news: News | None = None) -> list[Verdict]:
        chains = Chains(changes)
        check(chains.merged)
        if not changes:
            return []
        whole = written_at_once(changes, chains, news)
        number = await self._whole(*whole) if whole is not None else None
        if number is not None:
            if news is not None:
                news.number = number
            return [Verdict.DONE] * len(changes)

        # Without the news: all who tell something wait for the row that gives them their numbers, and here it would be
        # held while the server waits for this process.
        async def each(connection: Any) -> list[Verdict]:
            written: list[Verdict] = []
            for wave in waves(chains.merged):
                written += await write(connection, wave)
            verdicts = unchained(written, chains.places)
            counted = deltas(changes, verdicts)
            if counted:
                await connection.execute(COUNT, changes[0].task.owner, *transposed(counted, 3))
            return verdicts

        return await self._run(each)

    async def get(self, ids: Collection[str]) -> dict[str, Task]:
        wanted = [task_id for task_id in ids if is_key(task_id)]
        rows = await self._read(lambda connection: connection.fetch(GET, wanted)) if wanted else []
        return {task.id: task for task in map(task_of, rows)}

    async def by_key(self, principal: str, key: str) -> Task | None:
        if not (is_key(principal) and is_key(key)):
            return None
        found = await self._read(lambda connection: connection.fetchval(BY_KEY, principal, key))
        return (await self.get([found])).get(found) if found is not None else None

    async def page(self, query: TaskQuery) -> tuple[Task, ...]:
        filters = filters_of(query)
        if not all(map(is_key, filters.values())):
            return ()
        before = FAR if query.before is None else query.before
        reach = query.offset + query.limit
        values = (*searched(query), before, reach, query.offset, query.limit, *filters.values())
        rows = await self._read(lambda connection: connection.fetch(PAGES[tuple(filters)], *values))
        return tuple(sorted(map(task_of, rows), key=lambda task: -task.spec.seq))

    async def counts(self) -> Counts:
        return counts_of(await self._read(lambda connection: connection.fetch(COUNTS)))

    async def take_over(
        self, owner: str, *, seconds: float, alone: bool = False, limit: int = 5_000
    ) -> tuple[Task, ...]:
        async def take(connection: Any) -> list[Sequence[Any]]:
            await connection.execute(FORGET)
            await connection.execute(LIVE, owner, seconds)
            rows: list[Sequence[Any]] = await connection.fetch(TAKE, owner, alone, limit, _OPEN, ACTIVE)
            return rows

        rows = await self._run(take)
        return tuple(sorted(map(task_of, rows), key=turn))

    async def steal(self, owner: str, types: Collection[str], limit: int) -> tuple[Task, ...]:
        wanted = sorted(filter(is_key, types))

        def take(connection: Any) -> Awaitable[list[Sequence[Any]]]:
            rows: Awaitable[list[Sequence[Any]]] = connection.fetch(STEAL, owner, not types, wanted, limit)
            return rows

        rows = await self._run(take)
        return tuple(sorted(map(task_of, rows), key=lambda task: (task.spec.priority, task.spec.seq)))

    async def last_kept(self, state: TaskState, most: int) -> int | None:
        async def find(connection: Any) -> int | None:
            found: int | None = await connection.fetchval(LAST_KEPT, state.value, most)
            return found

        return await self._read(find)

    async def prune(self, state: TaskState, through: int, limit: int) -> int:
        async def prune(connection: Any) -> int:
            rows = await connection.fetch(PRUNE, state.value, through, limit)
            keys = keys_of([(row[0], row[1]) for row in rows])
            if keys:
                await connection.execute(DROP_KEYS, *transposed(keys, 2))
            if rows:
                await connection.execute(COUNT, "", [state.value], [-len(rows)], [0])
            return len(rows)

        return await self._run(prune)

    async def _whole(self, statement: str, values: Sequence[Any]) -> int | None:
        """What the statement gives; it is a transaction of its own. None when it could not be done."""
        import asyncpg

        async def work(connection: Any) -> int | None:
            try:
                found: int = await connection.fetchval(statement, *values)
            except asyncpg.InvalidTextRepresentationError:
                return None
            return found

        return await self._run(work, alone=True)

    async def _read(self, work: Work[T]) -> T:
        """A single statement that changes nothing."""
        return await self._run(work, alone=True, harmless=True)

    async def _run(self, work: Work[T], *, alone: bool = False, harmless: bool = False) -> T:
        """In a transaction, or `alone`, which is for a single statement. What had no effect is tried again: on a dead
        connection, or in a deadlock; and what is `harmless`."""
        import asyncpg

        with _translated(self._location), cancellation_kept() as cancelled:
            for _ in range(TRIES):
                async with (await self._open()).acquire(timeout=self._location.connect_timeout) as connection:
                    begun = alone
                    try:
                        async with nullcontext() if alone else connection.transaction():
                            begun = True
                            return await work(connection)
                    except asyncpg.DeadlockDetectedError:
                        pass
                    except _lost() as error:
                        without_effect = not begun or harmless or (alone and isinstance(error, _unmade()))
                        if cancelled() or not without_effect:
                            raise
        raise StorageUnavailable(f"{self._location}: no transaction came to its end")

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
                    reset=_keep,
                )
            return self._pool


async def _keep(_: Any) -> None:
    """What a connection is when it comes back: nothing here leaves a trace in the session, and asking the server to
    undo what was not done would cost every commit one way more."""


def _lost() -> tuple[type[Exception], ...]:
    """How asyncpg says that a connection is dead; the last one where it died between two statements."""
    import asyncpg

    return (
        asyncpg.PostgresConnectionError,
        asyncpg.AdminShutdownError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    )


def _unmade() -> tuple[type[Exception], ...]:
    """Those of them after which a single statement was not made: it was not sent, or the server ended the session in
    its place."""
    import asyncpg

    return (asyncpg.AdminShutdownError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@contextmanager
def _translated(location: PostgresServer) -> Iterator[None]:
    import asyncpg

    try:
        yield
    except asyncpg.PostgresError as error:
        # Classes 28, 3D and 42: credentials, unknown database, unknown name. Waiting does not mend them.
        kind = ConfigurationError if (error.sqlstate or "")[:2] in {"28", "3D", "42"} else StorageUnavailable
        raise kind(f"{location}: {str(error).partition(chr(10))[0]}") from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        text = str(error).partition("\n")[0] or "no answer in time"
        raise StorageUnavailable(f"{location}: {text}") from error
