"""Calls that need a person's consent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tool_call_parts import ANN, BOB, CHIEF, World

from orchestrator.domain.errors import Conflict, Forbidden, InvalidArguments, NotFound, ToolDisabled, ToolsBusy
from orchestrator.domain.tool import ApprovalRule, SideEffect, ToolStatus
from orchestrator.domain.tool_call import CallQuery, CallState, ToolCall

HELLO = {"text": "hello"}
SECRET = HELLO | {"password": "hunter2"}


async def asked(world: World, **changes: Any) -> ToolCall:
    await world.tool(**{"approval": ApprovalRule.ALWAYS, **changes})
    call = await world.calls.call("echo", SECRET, ANN, idempotency_key="k", timeout=5)
    assert call.state is CallState.PENDING_APPROVAL
    assert not world.script.orders
    return call


async def test_an_approved_call_runs_with_what_was_asked(world: World) -> None:
    call = await asked(world)
    assert call.arguments == {"text": "hello", "password": "***"}
    assert (await world.calls.get(call.id, CHIEF)).arguments == {"text": "hello", "password": "***"}
    begun = await world.calls.decide(call.id, True, CHIEF, "fine")
    assert begun.state is CallState.RUNNING
    assert begun.decision is not None
    assert (begun.decision.approved, begun.decision.by, begun.decision.reason) == (True, "chief", "fine")
    over = await world.calls.ended(call.id, ANN)
    assert over.state is CallState.SUCCEEDED
    assert over.decision == begun.decision
    assert world.script.orders[0].arguments == SECRET
    assert world.script.orders[0].timeout == 5
    written = await world.store.get(call.id)
    assert written is not None
    assert written.arguments["password"] == "***"
    assert (await world.calls.call("echo", SECRET, ANN, idempotency_key="k")).id == call.id


async def test_a_rejected_call_never_runs(world: World) -> None:
    call = await asked(world)
    over = await world.calls.decide(call.id, False, CHIEF, "no")
    assert (over.state, over.arguments["password"]) == (CallState.REJECTED, "***")
    assert over.decision is not None
    assert (over.decision.approved, over.decision.reason) == (False, "no")
    for approved in (True, False):
        with pytest.raises(Conflict):
            await world.calls.decide(call.id, approved, CHIEF)
    assert not world.script.orders


async def test_only_who_may_decides(world: World) -> None:
    call = await asked(world)
    for who in (ANN, BOB):
        with pytest.raises(Forbidden):
            await world.calls.decide(call.id, True, who)
    with pytest.raises(NotFound):
        await world.calls.decide("nothing", True, CHIEF)


async def test_of_many_decisions_one_counts(world: World) -> None:
    call = await asked(world)
    decisions = (world.calls.decide(call.id, number % 2 == 0, CHIEF) for number in range(8))
    found = await asyncio.gather(*decisions, return_exceptions=True)
    assert sum(isinstance(one, ToolCall) for one in found) == 1
    assert all(isinstance(one, ToolCall | Conflict) for one in found)
    await world.calls.ended(call.id, ANN)
    assert world.calls.places.taken == 0
    assert len(world.script.orders) <= 1


async def test_other_arguments_may_be_approved_and_are_checked(world: World) -> None:
    call = await asked(world)
    with pytest.raises(InvalidArguments):
        await world.calls.decide(call.id, True, CHIEF, arguments={"text": 1})
    assert (await world.calls.get(call.id, ANN)).state is CallState.PENDING_APPROVAL
    await world.calls.decide(call.id, True, CHIEF, arguments={"text": "less"})
    assert (await world.calls.ended(call.id, ANN)).arguments == {"text": "less"}
    assert world.script.orders[0].arguments == {"text": "less"}


async def test_what_changed_meanwhile_counts(world: World) -> None:
    call = await asked(world)
    tool = await world.catalogue.find("echo")
    await world.storage.tools.save(replace(tool, status=ToolStatus.DISABLED))
    with pytest.raises(ToolDisabled):
        await world.calls.decide(call.id, True, CHIEF)
    await world.storage.tools.save(replace(tool, input_schema={"required": ["other"]}))
    with pytest.raises(InvalidArguments):
        await world.calls.decide(call.id, True, CHIEF)
    await world.storage.tools.save(tool)
    del world.people["ann"]
    with pytest.raises(Conflict):
        await world.calls.decide(call.id, True, CHIEF)
    await world.storage.tools.delete(tool.tool_id)
    await world.tool("echo")  # another one with the name
    with pytest.raises(NotFound):
        await world.calls.decide(call.id, True, CHIEF)
    assert (await world.calls.decide(call.id, False, CHIEF)).state is CallState.REJECTED
    assert not world.script.orders


async def test_a_call_that_nobody_decides_about_expires(world: World) -> None:
    world.calls.rules = replace(world.calls.rules, approval_expires=0.0)
    first = await asked(world)
    with pytest.raises(Conflict):
        await world.calls.decide(first.id, True, CHIEF)
    assert (await world.calls.get(first.id, ANN)).state is CallState.EXPIRED
    second = await world.calls.call("echo", SECRET, ANN)
    await world.upkeep.expire()
    written = await world.store.get(second.id)
    assert written is not None
    assert (written.state, written.arguments["password"]) == (CallState.EXPIRED, "***")
    assert not world.script.orders


async def test_who_asked_may_take_it_back(world: World) -> None:
    call = await asked(world)
    assert (await world.calls.cancel(call.id, ANN)).state is CallState.CANCELLED
    with pytest.raises(Conflict):
        await world.calls.decide(call.id, True, CHIEF)


@pytest.mark.parametrize(
    ("side_effect", "rule", "approval", "pending"),
    [
        (SideEffect.DANGEROUS, None, ApprovalRule.INHERIT, True),
        (SideEffect.DANGEROUS, ApprovalRule.NEVER, ApprovalRule.INHERIT, False),
        (SideEffect.DANGEROUS, None, ApprovalRule.NEVER, False),
        (SideEffect.EXTERNAL, None, ApprovalRule.INHERIT, False),
        (SideEffect.EXTERNAL, ApprovalRule.ALWAYS, ApprovalRule.INHERIT, True),
        (SideEffect.EXTERNAL, ApprovalRule.ALWAYS, ApprovalRule.NEVER, False),
        (SideEffect.READ, None, ApprovalRule.ALWAYS, True),
    ],
)
async def test_the_rules(
    world: World, side_effect: SideEffect, rule: ApprovalRule | None, approval: ApprovalRule, pending: bool
) -> None:
    world.calls.rules = replace(world.calls.rules, approvals={side_effect: rule} if rule is not None else {})
    await world.tool(side_effect=side_effect, approval=approval)
    call = await world.calls.call("echo", HELLO, ANN)
    assert call.state is (CallState.PENDING_APPROVAL if pending else CallState.SUCCEEDED)


async def test_calls_that_wait_for_a_person_are_bounded(world: World) -> None:
    world.calls.rules = replace(world.calls.rules, max_pending=1)
    await asked(world)
    with pytest.raises(ToolsBusy):
        await world.calls.call("echo", HELLO, ANN)
    assert await world.calls.count(CallQuery(state=CallState.PENDING_APPROVAL), CHIEF) == 1
