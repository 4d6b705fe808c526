"""Deliveries of webhooks in SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.tables import WITH_CALLBACK, tasks_finished, webhooks
from orchestrator.domain import webhook as deliveries
from orchestrator.domain.storable import check_storable, is_key
from orchestrator.domain.webhook import DeliveryState, Webhook

NAMES = tuple(field.name for field in fields(Webhook))
PENDING = webhooks.c.state == DeliveryState.PENDING.value


class SqlWebhooks:
    """`WebhookStore` on one table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, found: Sequence[Webhook]) -> None:
        for webhook in found:
            check_storable(webhook, webhook.id)
        if found:
            rows = [{**_row(one), "owner": "", "held_until": 0.0} for one in found]
            await self._database.run(self._database.add(webhooks), rows)

    async def missing(self, since: float, limit: int) -> tuple[Webhook, ...]:
        task = tasks_finished.c
        stored = sa.exists().where(webhooks.c.task == task.id, webhooks.c.version == task.version)
        query = (
            sa.select(task.id, task.version, task.spec, task.principal, task.finished_at)
            # Written like the index's own condition, so that only tasks with a callback URL are looked at.
            .where(sa.text(WITH_CALLBACK[self._database.dialect]), task.finished_at >= since, ~stored)
            .order_by(task.finished_at, task.id)
            .limit(limit)
        )
        return tuple(
            deliveries.ended(row.id, row.version, _url(row.spec), row.principal, row.finished_at)
            for row in await self._database.rows(query)
        )

    async def claim(self, owner: str, now: float, until: float, limit: int) -> tuple[Webhook, ...]:
        free = (
            sa.select(webhooks.c.id)
            .where(PENDING, webhooks.c.next_at <= now, webhooks.c.held_until <= now)
            .order_by(webhooks.c.next_at)
            .limit(limit)
        )
        async with self._database.read() as connection:  # most looks find nothing: those shall not write
            if not (await connection.execute(free.limit(1))).first():
                return ()
        locked = free.with_for_update(skip_locked=True)
        take = sa.update(webhooks).where(webhooks.c.id.in_(locked)).values(owner=owner, held_until=until)
        async with self._database.write() as connection:
            rows = (await connection.execute(take.returning(*webhooks.c))).all()
        return tuple(sorted((_webhook(row._mapping) for row in rows), key=lambda one: one.next_at))

    async def save(self, webhook: Webhook, owner: str) -> bool:
        check_storable(webhook, webhook.id)
        mine = (webhooks.c.id == webhook.id, webhooks.c.owner == owner)
        return await self._write(mine, {**_row(webhook), "owner": "", "held_until": 0.0})

    async def again(self, webhook_id: str, now: float) -> Webhook | None:
        if not is_key(webhook_id):
            return None
        rows = await self._database.rows(sa.select(webhooks).where(webhooks.c.id == webhook_id))
        if not rows:
            return None
        known = _webhook(rows[0]._mapping)
        if known.state is DeliveryState.PENDING:
            return known
        new = deliveries.again(known, now)
        await self._write((webhooks.c.id == webhook_id, ~PENDING), {**_row(new), "owner": "", "held_until": 0.0})
        return new

    async def page(self, state: DeliveryState | None, task: str, limit: int, offset: int) -> tuple[Webhook, ...]:
        if not is_key(task):
            return ()
        conditions = [webhooks.c.state == state.value] if state is not None else []
        conditions += [webhooks.c.task == task] if task else []
        newest = sa.select(webhooks).where(*conditions)
        newest = newest.order_by(webhooks.c.created_at.desc(), webhooks.c.task, webhooks.c.version)
        rows = await self._database.rows(newest.limit(limit).offset(offset))
        return tuple(_webhook(row._mapping) for row in rows)

    async def prune(self, before: float) -> int:
        return await self._database.run(sa.delete(webhooks).where(webhooks.c.done_at < before))

    async def _write(self, where: tuple[sa.ColumnElement[bool], ...], row: Mapping[str, Any]) -> bool:
        return await self._database.run(sa.update(webhooks).where(*where).values(**row)) > 0


def _row(webhook: Webhook) -> dict[str, Any]:
    return {name: getattr(webhook, name) for name in NAMES} | {"id": webhook.id, "state": webhook.state.value}


def _webhook(row: Mapping[Any, Any]) -> Webhook:
    return Webhook(**{name: row[name] for name in NAMES} | {"state": DeliveryState(row["state"])})


def _url(spec: str) -> str:
    found: str = json.loads(spec)["callback_url"]
    return found
