"""What the history keeps of a request's attempts: all of them where there was trouble, else what the record says."""

from __future__ import annotations

import msgspec

from orchestrator.ports.record import Attempt, RequestRecord


def troubled(record: RequestRecord) -> bool:
    """Whether how it went is worth its room: an error, or several attempts."""
    return record.outcome == "error" or bool(record.error) or len(record.attempts) > 1


def outline(record: RequestRecord) -> RequestRecord:
    """The record as every store gives it back."""
    if troubled(record) or not record.node:
        return record
    attempt = Attempt(record.node, record.model, "", 0.0, status=record.status)
    return msgspec.structs.replace(record, attempts=(attempt,))
