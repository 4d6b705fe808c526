"""Log lines of tasks in SQL, as many in a row as came at once."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import task_log_heads, task_logs, tasks, tasks_finished
from orchestrator.domain.storable import check_storable, is_key
from orchestrator.ports.task_logs import LogLine, LogPage

HEADS, LOGS = task_log_heads.c, task_logs.c
AT_ONCE = 200  # rows looked at, of which some must go


class SqlTaskLogs:
    """`TaskLogStore` on two tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, task: str, lines: Sequence[LogLine], most_lines: int, most_bytes: int) -> int:
        check_storable(lines, task)
        size = sum(len(line.message.encode()) for line in lines)
        text = json.dumps([(line.at, line.level, line.message) for line in lines], ensure_ascii=False)
        add = self._database.upsert(task_log_heads)
        grown = {"last": HEADS.last + len(lines), "size": HEADS.size + size}
        counted = add.on_conflict_do_update(index_elements=["task"], set_=grown).returning(
            HEADS.last, HEADS.dropped, HEADS.size
        )
        async with self._database.write() as connection:
            values = {"task": task, "last": len(lines), "dropped": 0, "size": size}
            [head] = (await connection.execute(counted, values)).all()
            first = head.last - len(lines) + 1
            row = {"task": task, "first": first, "count": len(lines), "attempt": lines[0].attempt, "size": size}
            await connection.execute(sa.insert(task_logs), {**row, "lines": text})
            over = (head.last - head.dropped - most_lines, head.size - most_bytes)
            if max(over) > 0:
                await _drop_oldest(connection, task, first, *over)
        return int(head.last)

    async def page(self, task: str, after: int, limit: int) -> LogPage:
        if not is_key(task):
            return LogPage()
        heads = await self._database.rows(sa.select(HEADS.last, HEADS.dropped).where(HEADS.task == task))
        if not heads:
            return LogPage()
        wanted = sa.select(task_logs).where(LOGS.task == task, LOGS.first + LOGS.count > after + 1)
        found: list[LogLine] = []
        for row in await self._database.rows(wanted.order_by(LOGS.first).limit(limit)):
            for place, (at, level, message) in enumerate(json.loads(row.lines)):
                if row.first + place > after and len(found) < limit:
                    found.append(LogLine(row.first + place, at, row.attempt, level, message))
        return LogPage(tuple(found), heads[0].last, heads[0].dropped)

    async def forget_orphans(self, after: str, limit: int) -> tuple[str, int]:
        looked = sa.select(HEADS.task).where(HEADS.task > after).order_by(HEADS.task).limit(limit).subquery()
        query = sa.select(
            looked.c.task,
            sa.exists().where(tasks.c.id == looked.c.task).label("open"),
            sa.exists().where(tasks_finished.c.id == looked.c.task).label("ended"),
        ).order_by(looked.c.task)
        rows = await self._database.rows(query)
        gone = [row.task for row in rows if not (row.open or row.ended)]
        if gone:
            async with self._database.write() as connection:
                await connection.execute(sa.delete(task_logs).where(LOGS.task.in_(gone)))
                await connection.execute(sa.delete(task_log_heads).where(HEADS.task.in_(gone)))
        return (rows[-1].task if len(rows) == limit else ""), len(gone)


async def _drop_oldest(connection: AsyncConnection, task: str, before: int, lines: int, size: int) -> None:
    """Removes the oldest rows until there are so many lines and bytes fewer, none from the line `before` on."""
    oldest = sa.select(LOGS.first, LOGS.count, LOGS.size).where(LOGS.task == task, LOGS.first < before)
    through = dropped = freed = 0
    for first, count, freeing in (await connection.execute(oldest.order_by(LOGS.first).limit(AT_ONCE))).all():
        if dropped >= lines and freed >= size:
            break
        through, dropped, freed = first, dropped + count, freed + freeing
    await connection.execute(sa.delete(task_logs).where(LOGS.task == task, LOGS.first <= through))
    smaller = {"dropped": HEADS.dropped + dropped, "size": HEADS.size - freed}
    await connection.execute(sa.update(task_log_heads).where(HEADS.task == task).values(smaller))
