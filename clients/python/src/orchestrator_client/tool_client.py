"""What both clients do with tools."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

from orchestrator_client import tool_requests as requests
from orchestrator_client.calls import Call, Json
from orchestrator_client.errors import RateLimited, WaitTimeout
from orchestrator_client.tool_models import CallState, SearchHit, ToolCall, ToolInfo
from orchestrator_client.wait import Looks

T = TypeVar("T")
SLOWEST = 1.0  # seconds between two looks


class ToolClient(ABC):
    """Tools, calls of tools and approvals, for code that waits."""

    @abstractmethod
    def send(self, call: Call[T]) -> T: ...

    def tools(self, q: str = "", *, limit: int = 100, skip: int = 0, **filters: str | None) -> list[ToolInfo]:
        """Tools by name. `q`: words in name, category, description or tags; `filters`: tag, category, kind, source,
        side_effect, status."""
        return self.send(requests.get_tools({"q": q, **filters}, limit, skip))

    def search(self, q: str, *, kind: str | None = None, mode: str = "both", limit: int = 20) -> list[SearchHit]:
        """Tools and artifacts, the best first. `kind`: tool or artifact; `mode`: text (all words occur, the last one is
        the beginning of one), meaning (by an embedding model of the fleet; raises Conflict without one) or both."""
        return self.send(requests.search(q, kind, mode, limit))

    def tool(self, name: str) -> ToolInfo:
        """By id or name. Raises NotFound."""
        return self.send(requests.get_tool(name))

    def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        wait: float | None = None,
        idempotency_key: str | None = None,
    ) -> ToolCall:
        """Calls a tool; the call when it has ended, well or not (`ToolCall.value` gives the result or raises), or as
        soon as it needs approval. `timeout` in seconds for one attempt; `wait`: most seconds until it is returned
        while it runs. The same `idempotency_key` again is the same call. Raises InvalidArguments (`problems`),
        NotFound, Conflict for a tool that is disabled or only described, NotAvailable."""
        looks = Looks(wait, SLOWEST)
        named = idempotency_key or requests.new_key()
        call = self.send(requests.call_tool(name, arguments, timeout, looks.ask(), named))
        while call.state is CallState.RUNNING and (pause := looks.again()) is not None:
            time.sleep(pause)
            call = self._look_at_call(call.call_id, looks)
        return call

    def wait_for_tool_call(self, call_id: str, timeout: float | None = None) -> ToolCall:
        """The call when it has ended, also when it first waits for approval. Raises WaitTimeout, a TimeoutError, after
        `timeout` seconds."""
        looks = Looks(timeout, SLOWEST)
        while not (call := self._look_at_call(call_id, looks)).finished:
            pause = looks.again()
            if pause is None:
                raise WaitTimeout(f"Call {call_id} is {call.state} after {timeout:g} s.")
            time.sleep(pause)
        return call

    def _look_at_call(self, call_id: str, looks: Looks) -> ToolCall:
        try:
            return self.send(requests.get_call(call_id, looks.ask()))
        except RateLimited:
            if not looks.refused():
                raise
            return self.tool_call(call_id)

    def validate_tool(self, name: str, arguments: Mapping[str, Any]) -> list[Json]:
        """What is wrong with the arguments, `{path, message, schema_path}` each; nothing is called."""
        return self.send(requests.validate_tool(name, arguments))

    def tool_calls(self, *, limit: int = 100, skip: int = 0, **filters: str | None) -> list[ToolCall]:
        """Calls, newest first. `filters`: state, tool, principal_id, task_id."""
        return self.send(requests.get_calls(filters, limit, skip))

    def tool_call(self, call_id: str) -> ToolCall:
        return self.send(requests.get_call(call_id))

    def cancel_tool_call(self, call_id: str) -> ToolCall:
        """Raises Conflict for one that has ended."""
        return self.send(requests.cancel_call(call_id))

    def approvals(self, *, limit: int = 100, skip: int = 0) -> list[ToolCall]:
        """Calls that wait for approval, newest first."""
        return self.send(requests.get_approvals(limit, skip))

    def approve(self, call_id: str, reason: str = "", *, arguments: Mapping[str, Any] | None = None) -> ToolCall:
        """Lets a call begin, with other `arguments` where they are given. Raises Conflict for one that does not wait,
        InvalidArguments."""
        return self.send(requests.decide(call_id, "approve", reason, arguments))

    def reject(self, call_id: str, reason: str = "") -> ToolCall:
        """Raises Conflict for one that does not wait."""
        return self.send(requests.decide(call_id, "reject", reason, None))


class AsyncToolClient(ABC):
    """Tools, calls of tools and approvals, for asyncio."""

    @abstractmethod
    async def send(self, call: Call[T]) -> T: ...

    async def tools(self, q: str = "", *, limit: int = 100, skip: int = 0, **filters: str | None) -> list[ToolInfo]:
        """Tools by name. `q`: words in name, category, description or tags; `filters`: tag, category, kind, source,
        side_effect, status."""
        return await self.send(requests.get_tools({"q": q, **filters}, limit, skip))

    async def search(self, q: str, *, kind: str | None = None, mode: str = "both", limit: int = 20) -> list[SearchHit]:
        """Tools and artifacts, the best first. `kind`: tool or artifact; `mode`: text (all words occur, the last one is
        the beginning of one), meaning (by an embedding model of the fleet; raises Conflict without one) or both."""
        return await self.send(requests.search(q, kind, mode, limit))

    async def tool(self, name: str) -> ToolInfo:
        """By id or name. Raises NotFound."""
        return await self.send(requests.get_tool(name))

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        wait: float | None = None,
        idempotency_key: str | None = None,
    ) -> ToolCall:
        """Calls a tool; the call when it has ended, well or not (`ToolCall.value` gives the result or raises), or as
        soon as it needs approval. `timeout` in seconds for one attempt; `wait`: most seconds until it is returned
        while it runs. The same `idempotency_key` again is the same call. Raises InvalidArguments (`problems`),
        NotFound, Conflict for a tool that is disabled or only described, NotAvailable."""
        looks = Looks(wait, SLOWEST)
        named = idempotency_key or requests.new_key()
        call = await self.send(requests.call_tool(name, arguments, timeout, looks.ask(), named))
        while call.state is CallState.RUNNING and (pause := looks.again()) is not None:
            await asyncio.sleep(pause)
            call = await self._look_at_call(call.call_id, looks)
        return call

    async def wait_for_tool_call(self, call_id: str, timeout: float | None = None) -> ToolCall:
        """The call when it has ended, also when it first waits for approval. Raises WaitTimeout, a TimeoutError, after
        `timeout` seconds."""
        looks = Looks(timeout, SLOWEST)
        while not (call := await self._look_at_call(call_id, looks)).finished:
            pause = looks.again()
            if pause is None:
                raise WaitTimeout(f"Call {call_id} is {call.state} after {timeout:g} s.")
            await asyncio.sleep(pause)
        return call

    async def _look_at_call(self, call_id: str, looks: Looks) -> ToolCall:
        try:
            return await self.send(requests.get_call(call_id, looks.ask()))
        except RateLimited:
            if not looks.refused():
                raise
            return await self.tool_call(call_id)

    async def validate_tool(self, name: str, arguments: Mapping[str, Any]) -> list[Json]:
        """What is wrong with the arguments, `{path, message, schema_path}` each; nothing is called."""
        return await self.send(requests.validate_tool(name, arguments))

    async def tool_calls(self, *, limit: int = 100, skip: int = 0, **filters: str | None) -> list[ToolCall]:
        """Calls, newest first. `filters`: state, tool, principal_id, task_id."""
        return await self.send(requests.get_calls(filters, limit, skip))

    async def tool_call(self, call_id: str) -> ToolCall:
        return await self.send(requests.get_call(call_id))

    async def cancel_tool_call(self, call_id: str) -> ToolCall:
        """Raises Conflict for one that has ended."""
        return await self.send(requests.cancel_call(call_id))

    async def approvals(self, *, limit: int = 100, skip: int = 0) -> list[ToolCall]:
        """Calls that wait for approval, newest first."""
        return await self.send(requests.get_approvals(limit, skip))

    async def approve(self, call_id: str, reason: str = "", *, arguments: Mapping[str, Any] | None = None) -> ToolCall:
        """Lets a call begin, with other `arguments` where they are given. Raises Conflict for one that does not wait,
        InvalidArguments."""
        return await self.send(requests.decide(call_id, "approve", reason, arguments))

    async def reject(self, call_id: str, reason: str = "") -> ToolCall:
        """Raises Conflict for one that does not wait."""
        return await self.send(requests.decide(call_id, "reject", reason, None))
