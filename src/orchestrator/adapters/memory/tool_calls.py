"""Calls of tools in memory."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.adapters.memory.tools import MemoryTools
from orchestrator.domain.storable import check_storable
from orchestrator.domain.tool_call import CallQuery, CallState, ToolCall

MOST_RUNNING = 10_000


class MemoryToolCalls:
    """`ToolCallStore` in a dict, beside the tools."""

    def __init__(self, tools: MemoryTools) -> None:
        self._tools = tools
        self._all: dict[str, ToolCall] = {}
        self._keys: dict[tuple[str, str], str] = {}

    async def add(self, call: ToolCall) -> ToolCall:
        check_storable(None, call.id, call.principal, call.idempotency_key or "")
        if call.idempotency_key is not None:
            earlier = self._keys.setdefault((call.principal, call.idempotency_key), call.id)
            if earlier != call.id:
                return self._all[earlier]
        self._all[call.id] = call
        return call

    async def get(self, call_id: str) -> ToolCall | None:
        return self._all.get(call_id)

    async def save(self, call: ToolCall, expected: ToolCall) -> bool:
        known = self._all.get(call.id)
        if known is None or (known.state, known.owner) != (expected.state, expected.owner):
            return False
        self._all[call.id] = call
        if known.state is CallState.RUNNING and call.state.final and call.attempts:
            self._tools.used(call.tool_id, call.ended_at or 0.0)
        return True

    async def page(self, wanted: CallQuery, limit: int, skip: int) -> tuple[ToolCall, ...]:
        return tuple(replace(call, result=None) for call in self._found(wanted)[skip : skip + limit])

    async def count(self, wanted: CallQuery) -> int:
        return len(self._found(wanted))

    async def running(self) -> tuple[ToolCall, ...]:
        return await self.page(CallQuery(state=CallState.RUNNING), MOST_RUNNING, 0)

    async def forget(self, before: float, limit: int) -> int:
        old = sorted(
            (call for call in self._all.values() if call.ended_at is not None and call.ended_at < before),
            key=lambda call: call.ended_at or 0.0,
        )[:limit]
        for call in old:
            del self._all[call.id]
            if call.idempotency_key is not None:
                del self._keys[call.principal, call.idempotency_key]
        return len(old)

    def _found(self, wanted: CallQuery) -> list[ToolCall]:
        found = [call for call in self._all.values() if _fits(call, wanted)]
        return sorted(found, key=lambda call: (call.created_at, call.id), reverse=True)


def _fits(call: ToolCall, wanted: CallQuery) -> bool:
    pairs = (
        (wanted.state, call.state),
        (wanted.tool_id, call.tool_id),
        (wanted.principal, call.principal),
        (wanted.task, call.task),
    )
    if any(value is not None and value != own for value, own in pairs):
        return False
    return wanted.due is None or (call.expires_at is not None and call.expires_at <= wanted.due)
