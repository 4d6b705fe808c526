"""The POST that tells a client of a task's end, by Standard Webhooks. Times are seconds since the epoch."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, replace
from enum import StrEnum

GIVE_UP = 86_400.0  # seconds after the task's end
LONGEST_PAUSE = 3_600.0
GONE = 410  # the receiver wants no more of it
PREFIX = "whsec_"


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  # given up


@dataclass(frozen=True, slots=True)
class Webhook:
    """One end of a task: `version` is the task's version that ended it, as a task that is replayed ends again.
    `attempts` counts POSTs since it began (anew). `last_status` is the last answer's, None when there was none."""

    task: str
    version: int
    url: str
    principal: str
    created_at: float  # when the task ended
    began_at: float  # the same, or when it was begun anew by hand
    next_at: float
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    last_status: int | None = None
    last_error: str = ""
    done_at: float | None = None

    @property
    def id(self) -> str:
        return f"{self.task}.{self.version}"


def ended(task: str, version: int, url: str, principal: str, at: float) -> Webhook:
    return Webhook(task, version, url, principal, created_at=at, began_at=at, next_at=at)


def delivered(webhook: Webhook, now: float, status: int) -> Webhook:
    return _tried(webhook, now, DeliveryState.DELIVERED, status, "")


def given_up(webhook: Webhook, now: float, status: int | None, error: str) -> Webhook:
    return _tried(webhook, now, DeliveryState.FAILED, status, error)


def missed(webhook: Webhook, now: float, status: int | None, error: str, *, first_pause: float, rand: float) -> Webhook:
    """An attempt failed: another one follows after a pause that doubles, within a quarter of it, for GIVE_UP seconds.
    `rand` in [0, 1)."""
    pause = min(first_pause * 2.0 ** min(webhook.attempts, 32), LONGEST_PAUSE) * (0.75 + 0.5 * rand)
    if status == GONE or now + pause > webhook.began_at + GIVE_UP:
        return given_up(webhook, now, status, error)
    return replace(
        webhook, attempts=webhook.attempts + 1, last_status=status, last_error=error, next_at=now + pause, done_at=None
    )


def again(webhook: Webhook, now: float) -> Webhook:
    """Begun anew by hand."""
    return replace(webhook, state=DeliveryState.PENDING, attempts=0, began_at=now, next_at=now, done_at=None)


def key_of(secret: str) -> bytes:
    """The key that a secret stands for: base64 after `whsec_`, otherwise the text itself. Raises ValueError."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {PREFIX} is not base64") from None


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of webhook-signature (Standard Webhooks 1.0, symmetric)."""
    signed = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _tried(webhook: Webhook, now: float, state: DeliveryState, status: int | None, error: str) -> Webhook:
    attempts = webhook.attempts + 1
    return replace(webhook, state=state, attempts=attempts, last_status=status, last_error=error, done_at=now)
