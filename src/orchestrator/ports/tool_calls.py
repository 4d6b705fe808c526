"""The durable record of calls of tools."""

from __future__ import annotations

from typing import Protocol

from orchestrator.domain.tool_call import CallQuery, ToolCall


class ToolCallStore(Protocol):
    """Calls of tools, newest first."""

    async def add(self, call: ToolCall) -> ToolCall:
        """Writes a call down. Where its principal has used its idempotency key before, the earlier call is returned
        and nothing is written."""

    async def get(self, call_id: str) -> ToolCall | None: ...

    async def save(self, call: ToolCall, expected: ToolCall) -> bool:
        """Replaces a call that still is in the state of `expected` and has its owner; whether it was. A call of the
        registry's tool that was carried out and is over now counts as one use of it."""

    async def page(self, wanted: CallQuery, limit: int, skip: int) -> tuple[ToolCall, ...]:
        """Without their results."""

    async def count(self, wanted: CallQuery) -> int: ...

    async def running(self) -> tuple[ToolCall, ...]:
        """All that are RUNNING, at most 10,000."""

    async def forget(self, before: float, limit: int) -> int:
        """Deletes calls that ended before a time, at most so many; how many."""
