"""What is the same for both databases: everything but writing a batch."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import event_batches, event_head, event_writers, replicas
from orchestrator.ports.event_log import EventBatch, EventHead

BATCHES = event_batches.c
HEAD = sa.select(event_head.c.last, event_head.c.forgotten, event_head.c.size).where(event_head.c.id == 1)


class EventRows:
    """`EventLog` without `append`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def head(self, *, begins: bool = False) -> EventHead:
        [row] = await self._database.rows(HEAD)
        return EventHead(row.last, row.forgotten, row.size)

    async def read(self, after: int, limit: int) -> tuple[EventBatch, ...]:
        columns = sa.select(BATCHES.number, BATCHES.at, BATCHES.count, BATCHES.body)
        query = columns.where(BATCHES.number > after).order_by(BATCHES.number).limit(limit)
        rows = await self._database.rows(query)
        return tuple(EventBatch(**row._mapping) for row in rows)

    async def before(self, at: float) -> int:
        newest = sa.select(BATCHES.number).where(BATCHES.at < at).order_by(BATCHES.at.desc(), BATCHES.number.desc())
        rows = await self._database.rows(newest.limit(1))
        return rows[0].number if rows else (await self.head()).forgotten

    async def prune(self, before: float, most: int, limit: int) -> int:
        oldest = sa.select(BATCHES.number, BATCHES.at, sa.func.length(BATCHES.body).label("size"))
        async with self._database.write() as connection:
            [head] = (await connection.execute(HEAD)).all()
            rows = (await connection.execute(oldest.order_by(BATCHES.number).limit(limit))).all()
            size, through = head.size, 0
            for row in rows:
                if row.at >= before and size <= most:
                    break
                size, through = size - row.size, row.number
            if not through:
                return 0
            # The head is last, and as it is by then: on PostgreSQL everybody who tells something waits for it.
            gone = sa.delete(event_batches).where(BATCHES.number <= through).returning(sa.func.length(BATCHES.body))
            freed = [found for (found,) in (await connection.execute(gone)).all()]
            known = event_head.c.forgotten
            forgotten = sa.case((known < through, through), else_=known)
            await connection.execute(
                sa.update(event_head).values(size=event_head.c.size - sum(freed), forgotten=forgotten)
            )
        return len(freed)

    async def leave(self, owner: str) -> None:
        await self._database.run(sa.delete(event_writers).where(event_writers.c.owner == owner))

    async def lost(self, owner: str, before: float, *, alone: bool) -> int:
        gone = [event_writers.c.owner != owner, event_writers.c.at < before]
        if not alone:  # then it is PostgreSQL, whose clock the leases are kept by
            now = sa.func.extract("epoch", sa.func.clock_timestamp())
            gone.append(event_writers.c.owner.not_in(sa.select(replicas.c.id).where(replicas.c.until > now)))
        if not await self._database.rows(sa.select(event_writers.c.owner).where(*gone).limit(1)):
            return 0
        return await self._database.run(sa.delete(event_writers).where(*gone))
