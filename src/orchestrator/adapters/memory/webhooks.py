"""Deliveries of webhooks in memory."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.adapters.memory.ledger import MemoryLedger
from orchestrator.domain import webhook as deliveries
from orchestrator.domain.storable import check_storable
from orchestrator.domain.task.state import FINISHED
from orchestrator.domain.webhook import DeliveryState, Webhook
from orchestrator.ports.ledger import TaskQuery

ALL = 1_000_000


class MemoryWebhooks:
    """`WebhookStore` in a dict."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self._webhooks: dict[str, Webhook] = {}
        self._held: dict[str, tuple[str, float]] = {}

    async def add(self, webhooks: Sequence[Webhook]) -> None:
        for webhook in webhooks:
            check_storable(webhook, webhook.id)
        for webhook in webhooks:
            self._webhooks.setdefault(webhook.id, webhook)

    async def missing(self, since: float, limit: int) -> tuple[Webhook, ...]:
        found = []
        for task in await self._ledger.page(TaskQuery(frozenset(FINISHED), limit=ALL)):
            at, spec = task.finished_at, task.spec
            if at is not None and at >= since and spec.callback_url:
                webhook = deliveries.ended(task.id, task.version, spec.callback_url, spec.principal, at)
                if webhook.id not in self._webhooks:
                    found.append(webhook)
        return tuple(sorted(found, key=lambda one: (one.created_at, one.task))[:limit])

    async def claim(self, owner: str, now: float, until: float, limit: int) -> tuple[Webhook, ...]:
        found = [one for one in self._webhooks.values() if one.state is DeliveryState.PENDING and one.next_at <= now]
        free = [one for one in found if self._held.get(one.id, ("", 0.0))[1] <= now]
        taken = sorted(free, key=lambda one: one.next_at)[:limit]
        self._held |= {one.id: (owner, until) for one in taken}
        return tuple(taken)

    async def save(self, webhook: Webhook, owner: str) -> bool:
        check_storable(webhook, webhook.id)
        if self._held.get(webhook.id, ("", 0.0))[0] != owner:
            return False
        del self._held[webhook.id]
        self._webhooks[webhook.id] = webhook
        return True

    async def again(self, webhook_id: str, now: float) -> Webhook | None:
        known = self._webhooks.get(webhook_id)
        if known is not None and known.state is not DeliveryState.PENDING:
            self._webhooks[webhook_id] = known = deliveries.again(known, now)
        return known

    async def page(self, state: DeliveryState | None, task: str, limit: int, offset: int) -> tuple[Webhook, ...]:
        found = [
            one for one in self._webhooks.values() if state in (None, one.state) and (not task or one.task == task)
        ]
        newest = sorted(found, key=lambda one: (-one.created_at, one.task, one.version))
        return tuple(newest[offset : offset + limit])

    async def prune(self, before: float) -> int:
        old = [one.id for one in self._webhooks.values() if one.done_at is not None and one.done_at < before]
        for webhook_id in old:
            del self._webhooks[webhook_id]
        return len(old)
