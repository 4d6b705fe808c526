"""Webhooks: tells a client by POST that its task has ended, until the client has taken it.

A delivery is a row, written when the end is durable. A process that dies before it has written the row is made up for:
with the start and once a minute the ledger is searched for ends without one. Processes on one database share the rows
by leases, so that one that dies in the middle of a POST leaves it to another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from orchestrator.domain import webhook as deliveries
from orchestrator.domain.errors import InvalidRequest, NotFound, OrchestratorError, StorageUnavailable
from orchestrator.domain.storable import plain_text
from orchestrator.domain.task.task import Task
from orchestrator.domain.webhook import GIVE_UP, DeliveryState, Webhook
from orchestrator.ports.ledger import Ledger
from orchestrator.ports.webhooks import WebhookStore
from orchestrator.services.tasks.webhook_post import WebhookPost, WebhookRules

LOOK = 1.0  # seconds between two looks for what is due
SEARCH = 60.0  # seconds between two searches for ends without a delivery
RECENT = 600.0  # how far back such a search looks, after the first one
LEASE = 25.0  # longer than a POST may take
AT_ONCE = 64  # POSTs at a time
FOUND = 500  # ends taken from the ledger at once
KEPT = 7 * 86_400.0  # seconds that a finished delivery is shown
OUTCOMES = {DeliveryState.DELIVERED: "delivered", DeliveryState.PENDING: "retry", DeliveryState.FAILED: "given_up"}
_log = logging.getLogger("orchestrator.webhooks")


class Webhooks:
    """One per process."""

    def __init__(
        self,
        store: WebhookStore,
        ledger: Ledger,
        post: WebhookPost,
        wall: Callable[[], float],
        rand: Callable[[], float],
        owner: str,
    ) -> None:
        """`wall` tells the time in seconds since the epoch, `rand` gives uniform floats in [0, 1)."""
        self.rules = WebhookRules()
        self._store = store
        self._ledger = ledger
        self._post = post
        self._wall = wall
        self._rand = rand
        self._owner = owner
        self._ended: list[Webhook] = []
        self._more = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._searched = 0.0
        self.attempts = dict.fromkeys(OUTCOMES.values(), 0)  # of this process, by what became of them

    def task(self, new: Task, old: Task | None) -> None:
        """For `Scheduler.on_end`: the change is durable."""
        if new.spec.callback_url and new.finished_at is not None:
            spec = new.spec
            webhook = deliveries.ended(new.id, new.version, spec.callback_url, spec.principal, new.finished_at)
            self._ended.append(webhook)
            self._more.set()

    async def page(
        self, state: DeliveryState | None, task: str = "", limit: int = 50, offset: int = 0
    ) -> tuple[Webhook, ...]:
        """Deliveries, the newest first."""
        return await self._store.page(state, task, limit, offset)

    async def replay(self, webhook_id: str) -> Webhook:
        """Delivers once more what is done. Raises NotFound."""
        webhook = await self._store.again(webhook_id, self._wall())
        if webhook is None:
            raise NotFound("Webhook not found", details={"code": "WEBHOOK_NOT_FOUND", "webhook_id": webhook_id})
        self._more.set()
        return webhook

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._more.wait()
            except TimeoutError:
                pass
            self._more.clear()
            try:
                await self.look()
            except StorageUnavailable as error:
                _log.warning("webhooks_not_read", extra={"error": error.message})

    async def stop(self) -> None:
        """Ends what is under way: other processes, or the next start, go on with it when its lease is over."""
        for sending in self._sending:
            sending.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def look(self) -> None:
        """Writes down what has ended, and begins what is due. Raises StorageUnavailable."""
        now = self._wall()
        ended, self._ended = self._ended, []
        try:
            await self._store.add(ended)
        except StorageUnavailable:
            self._ended = ended + self._ended
            raise
        if now - self._searched >= SEARCH:
            await self._search(now)
        room = AT_ONCE - len(self._sending)
        for webhook in await self._store.claim(self._owner, now, now + LEASE, room) if room else ():
            sending = asyncio.create_task(self._deliver(webhook))
            self._sending.add(sending)
            sending.add_done_callback(self._finished)

    async def _search(self, now: float) -> None:
        since = now - (RECENT if self._searched else GIVE_UP)
        while found := await self._store.missing(since, FOUND):
            _log.info("webhooks_made_up_for", extra={"webhooks": len(found)})
            await self._store.add(found)
        self._searched = now
        await self._store.prune(now - KEPT)

    def _finished(self, sending: asyncio.Task[None]) -> None:
        self._sending.discard(sending)
        self._more.set()
        if not sending.cancelled() and (error := sending.exception()) is not None:
            _log.error("bug", exc_info=error)

    async def _deliver(self, webhook: Webhook) -> None:
        try:
            done = await self._attempt(webhook)
            self.attempts[OUTCOMES[done.state]] += 1
            await self._store.save(done, self._owner)
        except StorageUnavailable as error:  # the lease ends, and it is delivered once more
            _log.warning("webhook_not_written", extra={"webhook": webhook.id, "error": error.message})

    async def _attempt(self, webhook: Webhook) -> Webhook:
        """What became of it. Raises StorageUnavailable."""
        task = (await self._ledger.get([webhook.task])).get(webhook.task)
        if task is None or task.version != webhook.version:
            return deliveries.given_up(webhook, self._wall(), None, "the task was begun anew, or is gone")
        status: int | None = None
        try:
            status = await self._post.send(webhook, task, self.rules.key, self._wall())
            if 200 <= status < 300:
                return deliveries.delivered(webhook, self._wall(), status)
            error = f"status {status}"
        except InvalidRequest as wrong:
            return deliveries.given_up(webhook, self._wall(), None, plain_text(wrong.message))
        except OrchestratorError as failed:
            error = plain_text(failed.message)
        _log.info("webhook_failed", extra={"webhook": webhook.id, "error": error})
        pause = self.rules.first_pause
        return deliveries.missed(webhook, self._wall(), status, error, first_pause=pause, rand=self._rand())
