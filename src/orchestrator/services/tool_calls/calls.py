"""Calls of tools: who may make them, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import Conflict, Forbidden, NotFound, ShuttingDown, ToolsBusy
from orchestrator.domain.tool import Tool
from orchestrator.domain.tool_call import (
    CallQuery,
    CallState,
    Decision,
    ToolCall,
    moved,
    needs_approval,
)
from orchestrator.ports.schemas import Schemas
from orchestrator.ports.tool_calls import ToolCallStore
from orchestrator.services.clock import Clock
from orchestrator.services.tool_calls import asked, journal
from orchestrator.services.tool_calls.catalogue import Catalogue
from orchestrator.services.tool_calls.conduct import Conduct
from orchestrator.services.tool_calls.places import Places
from orchestrator.services.tool_calls.rules import CallRules
from orchestrator.services.tool_calls.secrets import masked, secret_paths, shown, told

LOOK = 0.5  # seconds between two looks at a call that another process carries out


class Calls:
    """The use cases. Records that it gives out have their secret arguments masked. Every method that waits raises
    StorageUnavailable."""

    def __init__(
        self,
        catalogue: Catalogue,
        store: ToolCallStore,
        schemas: Schemas,
        conduct: Conduct,
        clock: Clock,
        new_id: Callable[[], str],
        principal: Callable[[str], Principal | None],
        rules: CallRules,
    ) -> None:
        """`new_id` draws a UUID; `principal` finds somebody by id. `rules` may be exchanged meanwhile."""
        self.rules = rules
        self.catalogue = catalogue
        self.conduct = conduct
        self.places = Places(lambda: self.rules.concurrency, lambda: self.rules.patience)
        self._store = store
        self._schemas = schemas
        self._clock = clock
        self._new_id = new_id
        self._principal = principal
        self._starting: set[asyncio.Task[ToolCall]] = set()

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        who: Principal,
        *,
        idempotency_key: str | None = None,
        timeout: float | None = None,
        wait: float | None = None,
        task: str | None = None,
        run: str | None = None,
        agent: str | None = None,
    ) -> ToolCall:
        """Calls a tool (`Catalogue.find` says which names there are) and waits for its end, or for `wait` seconds, or
        until it is known that a person has to agree. A caller that leaves does not stop it: see `cancel`. `timeout` is
        for one attempt, in seconds. With an idempotency key that this principal has used before, the earlier call.

        That the tool failed is in the record. Raises NotFound, ToolDisabled, NotExecutable, NotAvailable, Forbidden,
        InvalidArguments, InvalidRequest, TooLarge, Conflict for a key that belongs to another call, ToolsBusy."""
        tool = await self.catalogue.find(name)
        self.catalogue.runner(tool)
        _permit(who, Permission.TOOLS_CALL)
        call = self._asked(tool, arguments, who)
        seconds = asked.attempt_timeout(tool, timeout, self.rules)
        asked.check_names(idempotency_key, task, run, agent)
        call = replace(call, idempotency_key=idempotency_key, timeout=seconds, task=task, run=run, agent=agent)
        if needs_approval(tool, self.rules.approvals):
            written = await self._ask(call)
        else:
            written = await self._begin(call, tool, arguments, expected=None)
        asked.check_same(written, call)
        return await self._awaited(written, wait)

    async def validate(self, name: str, arguments: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """What is wrong with the arguments: `path`, `message`, `schema_path`, `keyword`. Calls nothing. Raises
        NotFound, and InvalidRequest when the tool's input schema is none."""
        tool = await self.catalogue.find(name)
        asked.digest(tool, arguments)
        return asked.problems_of(self._schemas, tool, arguments)

    async def get(self, call_id: str, who: Principal) -> ToolCall:
        """Raises NotFound, also for a call of another principal that `who` may not see."""
        return shown(await self._seen(call_id, who))

    async def page(self, wanted: CallQuery, limit: int, skip: int, who: Principal) -> tuple[ToolCall, ...]:
        """Newest first; only `who`'s own unless it may decide about others'."""
        found = await self._store.page(_own(wanted, who), limit, skip)
        return tuple(shown(call) for call in found)

    async def count(self, wanted: CallQuery, who: Principal) -> int:
        return await self._store.count(_own(wanted, who))

    async def ended(
        self, call_id: str, who: Principal, wait: float | None = None, stopping: asyncio.Event | None = None
    ) -> ToolCall:
        """The call, where it runs in this process after its end, after `wait` seconds or when `stopping` is set. Raises
        NotFound."""
        call = await self._seen(call_id, who)
        if stopping is None:
            return await self._awaited(call, wait)
        ending, leaving = asyncio.create_task(self._awaited(call, wait)), asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({ending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return ending.result() if ending.done() else await self._awaited(call, 0.0)
        finally:
            ending.cancel()
            leaving.cancel()

    async def cancel(self, call_id: str, who: Principal) -> ToolCall:
        """Ends a call that runs (in another process within about a second) or waits for approval. Raises NotFound,
        Forbidden for another principal's, Conflict for one that is over."""
        call = await self._seen(call_id, who)
        if call.principal != who.id:
            _permit(who, Permission.TOOLS_APPROVE)
        now = self._clock.wall()
        over = moved(call, CallState.CANCELLED, ended_at=now, arguments=masked(call.arguments, call.secrets))
        await self._save(over, call)
        self.conduct.stop(call_id)
        journal.ended(over)
        return shown(over)

    async def decide(
        self,
        call_id: str,
        approved: bool,
        who: Principal,
        reason: str = "",
        arguments: Mapping[str, Any] | None = None,
    ) -> ToolCall:
        """What a person says about a call that waits for approval; one that is approved begins at once, with other
        arguments where some are given. Raises NotFound, Forbidden, Conflict where it does not wait any more or where
        its principal may not call tools any more, and errors as of `call`."""
        _permit(who, Permission.TOOLS_APPROVE)
        call = await self._seen(call_id, who)
        now = self._clock.wall()
        decision = Decision(approved, who.id, now, reason[:1000])
        if call.state is CallState.PENDING_APPROVAL and (call.expires_at or now) < now:
            over = moved(call, CallState.EXPIRED, ended_at=now, arguments=masked(call.arguments, call.secrets))
            await self._save(over, call)
            raise Conflict(f"Call '{call_id}' has expired.", details={"state": over.state.value})
        asked.keep_to(call, approved, reason, arguments)
        if not approved:
            over = moved(call, CallState.REJECTED, ended_at=now, decision=decision)
            over = replace(over, arguments=masked(call.arguments, call.secrets))
            await self._save(over, call)
            journal.decided(over)
            return shown(over)
        moved(call, CallState.RUNNING)
        tool, chosen = await self._approved(call, arguments)
        begun = await self._begin(replace(chosen, decision=decision), tool, chosen.arguments, expected=call)
        journal.decided(begun)
        return shown(begun)

    async def stop(self) -> None:
        """Ends what runs here; it is written down as interrupted."""
        self.conduct.closing = True
        await asyncio.gather(*self._starting, return_exceptions=True)
        await self.conduct.close()

    # How a call begins

    def _asked(self, tool: Tool, arguments: Mapping[str, Any], who: Principal) -> ToolCall:
        mark = asked.digest(tool, arguments)
        problems = asked.problems_of(self._schemas, tool, arguments)
        secrets = secret_paths(tool.input_schema, arguments)
        asked.refuse(tool, told(problems, secrets, arguments))
        assert tool.execution is not None
        return ToolCall(
            self._new_id(),
            tool.tool_id,
            tool.name,
            arguments,
            who.id,
            CallState.PENDING_APPROVAL,
            self._clock.wall(),
            tool.execution.side_effect,
            digest=mark,
            secrets=secrets,
        )

    async def _ask(self, call: ToolCall) -> ToolCall:
        """The call waits for a person, with its arguments as they are."""
        waiting = await self._store.count(CallQuery(state=CallState.PENDING_APPROVAL))
        if waiting >= self.rules.max_pending:
            raise ToolsBusy(f"{waiting:,} calls wait for approval.", retry_after=60.0)
        written = await self._store.add(replace(call, expires_at=call.created_at + self.rules.approval_expires))
        if written.id == call.id:
            journal.wanted(written)
        return written

    async def _approved(self, call: ToolCall, arguments: Mapping[str, Any] | None) -> tuple[Tool, ToolCall]:
        """The tool, and the call with what it is to be made with, all checked again: time has passed."""
        tool = await self.catalogue.same(call.tool_id)
        self.catalogue.runner(tool)
        principal = self._principal(call.principal)
        if principal is None or not allowed(principal, Permission.TOOLS_CALL):
            raise Conflict(
                f"'{call.principal}', who made this call, may not call tools any more.",
                details={"principal": call.principal},
            )
        chosen = call.arguments if arguments is None else arguments
        again = self._asked(tool, chosen, principal)
        return tool, replace(call, arguments=chosen, secrets=again.secrets, side_effect=again.side_effect)

    async def _begin(
        self, call: ToolCall, tool: Tool, arguments: Mapping[str, Any], *, expected: ToolCall | None
    ) -> ToolCall:
        """Writes down that it runs, and lets it run, even if the caller leaves in between. `expected`: as it was while
        it waited for approval. Raises ToolsBusy, Conflict."""
        self._check_open()
        await self.places.take()
        try:
            self._check_open()
        except ShuttingDown:
            self.places.leave()
            raise
        starting = asyncio.create_task(self._start(call, tool, arguments, expected))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        return await asyncio.shield(starting)

    async def _start(
        self, call: ToolCall, tool: Tool, arguments: Mapping[str, Any], expected: ToolCall | None
    ) -> ToolCall:
        """Has a place, and gives it to the call or back."""
        begun = False
        try:
            now = self._clock.wall()
            running = replace(
                call,
                state=CallState.RUNNING,
                arguments=masked(arguments, call.secrets),
                started_at=now,
                expires_at=asked.over_by(tool, call.timeout or self.rules.timeout, now),
                owner=self.conduct.owner,
            )
            if expected is not None:
                await self._save(running, expected)
                written = running
            else:
                written = await self._store.add(running)
            if written.id == call.id:
                runner = self.catalogue.runner(tool)
                self.conduct.begin(written, tool, arguments, runner, self.places.leave)
                begun = True
            return written
        finally:
            if not begun:
                self.places.leave()

    # The rest

    def _check_open(self) -> None:
        if self.conduct.closing:
            raise ShuttingDown()

    async def _awaited(self, call: ToolCall, wait: float | None) -> ToolCall:
        until = None if wait is None else self._clock.tick() + wait
        while True:
            over = await self.conduct.wait(call.id, wait)
            call = over or await self._store.get(call.id) or call
            left = LOOK if until is None else until - self._clock.tick()
            elsewhere = call.state is CallState.RUNNING and not self.conduct.has(call.id)
            if left <= 0 or not elsewhere or self.conduct.closing:
                return shown(call)
            await asyncio.sleep(min(left, LOOK))

    async def _seen(self, call_id: str, who: Principal) -> ToolCall:
        call = await self._store.get(call_id)
        if call is None or (call.principal != who.id and not sees_all(who)):
            raise NotFound(f"Call '{call_id[:100]}' not found", details={"call_id": call_id[:100]})
        return call

    async def _save(self, call: ToolCall, expected: ToolCall) -> None:
        if not await self._store.save(call, expected):
            raise Conflict(f"Call '{call.id}' changed meanwhile.", details={"call_id": call.id})


def sees_all(who: Principal) -> bool:
    """Whether these calls are not only its own."""
    return allowed(who, Permission.TOOLS_APPROVE) or allowed(who, Permission.PROMPTS_READ)


def _own(wanted: CallQuery, who: Principal) -> CallQuery:
    if sees_all(who) or wanted.principal == who.id:
        return wanted
    if wanted.principal is not None:
        raise Forbidden("These are another principal's calls.")
    return replace(wanted, principal=who.id)


def _permit(who: Principal, permission: Permission) -> None:
    if not allowed(who, permission):
        raise Forbidden(f"This needs the permission {permission}.", details={"permission": permission.value})
