"""Where deliveries of webhooks are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orchestrator.domain.webhook import DeliveryState, Webhook


class WebhookStore(Protocol):
    """Times are seconds since the epoch. Every method raises StorageUnavailable when the database cannot be reached."""

    async def add(self, webhooks: Sequence[Webhook]) -> None:
        """Those that are not stored yet."""

    async def missing(self, since: float, limit: int) -> tuple[Webhook, ...]:
        """Ends of tasks with a callback URL, not before `since`, that are not stored here; the oldest first."""

    async def claim(self, owner: str, now: float, until: float, limit: int) -> tuple[Webhook, ...]:
        """Takes pending ones whose time has come and that nobody holds, until then; two who claim at once get
        different ones."""

    async def save(self, webhook: Webhook, owner: str) -> bool:
        """Writes down what became of a delivery and gives it back; False when it is no longer the owner's."""

    async def again(self, webhook_id: str, now: float) -> Webhook | None:
        """Begins one anew that is done; None when there is none. One that is pending is left as it is."""

    async def page(self, state: DeliveryState | None, task: str, limit: int, offset: int) -> tuple[Webhook, ...]:
        """The newest first."""

    async def prune(self, before: float) -> int:
        """Deletes those that were done before; how many."""
