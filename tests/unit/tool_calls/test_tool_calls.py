"""Calls from their order to their record."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from tool_call_parts import ANN, BOB, CHIEF, VIEWER, World, until

from orchestrator.domain.errors import (
    Conflict,
    Forbidden,
    InvalidArguments,
    InvalidRequest,
    NotAvailable,
    NotExecutable,
    NotFound,
    TooLarge,
    ToolCrashed,
    ToolDisabled,
    ToolFailed,
    ToolsBusy,
)
from orchestrator.domain.tool import ToolKind, ToolStatus
from orchestrator.domain.tool_call import CallOutcome, CallQuery, CallState

HELLO = {"text": "hello"}


async def test_a_call_brings_the_result_and_is_written_down(world: World) -> None:
    tool = await world.tool(cost=0.5)
    call = await world.calls.call("echo", HELLO, ANN, task="t1", run="r1", agent="g1")
    assert (call.state, call.result, call.error, call.attempts, call.cost) == (
        CallState.SUCCEEDED,
        HELLO,
        None,
        1,
        0.5,
    )
    assert (call.tool_id, call.tool_name, call.principal) == (tool.tool_id, "echo", "ann")
    assert (call.task, call.run, call.agent, call.owner) == ("t1", "r1", "g1", "one")
    assert call.created_at <= (call.started_at or 0) <= (call.ended_at or 0)
    assert await world.calls.get(call.id, ANN) == call
    [order] = world.script.orders
    assert (order.call_id, order.principal, order.attempt, order.timeout) == (call.id, "ann", 1, 60.0)
    assert await world.uses() == {"echo": 1}


async def test_arguments_that_do_not_fit_are_told_exactly_and_nothing_is_called(world: World) -> None:
    await world.tool()
    with pytest.raises(InvalidArguments) as refused:
        await world.calls.call("echo", {"text": 1, "more": 2}, ANN)
    assert refused.value.status == 422
    assert [(one["path"], one["schema_path"]) for one in refused.value.details["problems"]] == [
        ("", "/additionalProperties"),
        ("/text", "/properties/text/type"),
    ]
    assert not world.script.orders
    assert await world.calls.count(CallQuery(), CHIEF) == 0
    assert [one["path"] for one in await world.calls.validate("echo", {"text": 1})] == ["/text"]
    assert await world.calls.validate("echo", HELLO) == ()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"text": "x" * (1 << 20)}, TooLarge),
        ({"text": "\ud800"}, InvalidRequest),
        ({"text": object()}, InvalidRequest),
    ],
)
async def test_arguments_that_cannot_be_kept_are_refused(
    world: World, arguments: dict[str, Any], error: type[Exception]
) -> None:
    await world.tool(input_schema=None)
    with pytest.raises(error):
        await world.calls.call("echo", arguments, ANN)


async def test_arguments_that_are_nested_too_deep_are_refused(world: World) -> None:
    await world.tool(input_schema=None)
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(InvalidRequest):
        await world.calls.call("echo", deep, ANN)
    while deep:  # taken apart level by level: its own end would need as deep a stack
        deep = deep["a"]


async def test_tools_that_cannot_be_called(world: World) -> None:
    await world.tool("off", status=ToolStatus.DISABLED)
    await world.tool("described", execution=None)
    await world.tool("pipeline", kind=ToolKind.PIPELINE)
    await world.tool("container", kind=ToolKind.CONTAINER)
    await world.tool("broken", input_schema={"type": "nonsense"})
    await world.tool("old", status=ToolStatus.DEPRECATED)
    for name, error in (
        ("off", ToolDisabled),
        ("described", NotExecutable),
        ("pipeline", NotAvailable),
        ("container", NotAvailable),
        ("broken", InvalidRequest),
        ("nothing", NotFound),
    ):
        with pytest.raises(error):
            await world.calls.call(name, HELLO, ANN)
    assert not world.script.orders
    assert (await world.calls.call("old", HELLO, ANN)).state is CallState.SUCCEEDED


async def test_only_who_may_call_tools_calls_them(world: World) -> None:
    await world.tool()
    with pytest.raises(Forbidden):
        await world.calls.call("echo", HELLO, VIEWER)


async def test_the_same_key_is_the_same_call(world: World) -> None:
    await world.tool()
    first = await world.calls.call("echo", HELLO, ANN, idempotency_key="k")
    assert await world.calls.call("echo", HELLO, ANN, idempotency_key="k") == first
    assert (await world.calls.call("echo", HELLO, BOB, idempotency_key="k")).id != first.id
    with pytest.raises(Conflict) as refused:
        await world.calls.call("echo", {"text": "other"}, ANN, idempotency_key="k")
    assert refused.value.details == {"code": "IDEMPOTENCY_CONFLICT", "call_id": first.id}
    assert len(world.script.orders) == 2
    with pytest.raises(InvalidRequest):
        await world.calls.call("echo", HELLO, ANN, idempotency_key="\0")


async def test_many_calls_with_one_key_run_once_and_all_get_the_result(world: World) -> None:
    await world.tool()
    calls = (world.calls.call("echo", HELLO, ANN, idempotency_key="k") for _ in range(20))
    found = await asyncio.gather(*calls)
    assert len({call.id for call in found}) == 1
    assert {call.state for call in found} == {CallState.SUCCEEDED}
    assert len(world.script.orders) == 1
    assert world.calls.places.taken == 0


async def test_a_crash_is_tried_again_as_often_as_the_tool_says(world: World) -> None:
    await world.tool(attempts=3)
    world.script.steps = [ToolCrashed(), ToolCrashed("gone")]
    call = await world.calls.call("echo", HELLO, ANN)
    assert (call.state, call.attempts) == (CallState.SUCCEEDED, 3)
    assert [order.attempt for order in world.script.orders] == [1, 2, 3]
    world.script.steps = [ToolCrashed(), ToolCrashed(), ToolCrashed("gone")]
    call = await world.calls.call("echo", HELLO, ANN)
    assert call.error is not None
    assert (call.state, call.attempts, call.error.code, call.error.message) == (
        CallState.FAILED,
        3,
        "tool_crashed",
        "gone",
    )
    assert await world.uses() == {"echo": 2}


async def test_the_next_attempt_waits_for_as_long_as_the_tool_asks(world: World) -> None:
    await world.tool(attempts=2)
    world.script.steps = [ToolCrashed("later", retry_after=0.2)]
    begun = asyncio.get_running_loop().time()
    call = await world.calls.call("echo", HELLO, ANN)
    assert (call.state, call.attempts) == (CallState.SUCCEEDED, 2)
    assert asyncio.get_running_loop().time() - begun >= 0.2


@pytest.mark.parametrize(
    ("error", "code", "cost"),
    [
        (ToolFailed("no", details={"problems": [{"path": "/x"}]}), "tool_failed", 0.5),
        (InvalidRequest("not allowed"), "invalid_request", 0.0),
        (Forbidden("not you"), "forbidden", 0.0),
        (ValueError("a defect"), "internal_error", 0.5),
        (TimeoutError(), "tool_crashed", 0.5),
    ],
)
async def test_what_no_retry_mends_is_not_tried_again(
    world: World, error: Exception, code: str, cost: float, caplog: pytest.LogCaptureFixture
) -> None:
    await world.tool(cost=0.5, attempts=1 if isinstance(error, TimeoutError) else 3)
    world.script.steps = [error]
    call = await world.calls.call("echo", HELLO, ANN)
    assert call.error is not None
    assert (call.state, call.attempts, call.error.code, call.cost) == (CallState.FAILED, 1, code, cost)
    assert ("a defect" in caplog.text) is isinstance(error, ValueError)


async def test_an_attempt_ends_at_its_time_limit(world: World) -> None:
    await world.tool(attempts=2, timeout=30.0)
    world.script.hold()
    call = await world.calls.call("echo", HELLO, ANN, timeout=0.02)
    assert call.error is not None
    assert (call.state, call.error.code, call.attempts) == (CallState.FAILED, "tool_timeout", 2)
    assert world.script.cancelled == 2
    for wrong in (0, -1, 3601):
        with pytest.raises(InvalidRequest):
            await world.calls.call("echo", HELLO, ANN, timeout=wrong)


async def test_a_caller_may_wait_for_less_than_the_end(world: World) -> None:
    await world.tool()
    held = world.script.hold()
    call = await world.calls.call("echo", HELLO, ANN, wait=0.01)
    assert call.state is CallState.RUNNING
    assert (await world.calls.ended(call.id, ANN, wait=0)).state is CallState.RUNNING
    held.set()
    assert (await world.calls.ended(call.id, ANN)).state is CallState.SUCCEEDED


async def test_a_caller_that_leaves_stops_nothing(world: World) -> None:
    await world.tool()
    held = world.script.hold()
    caller = asyncio.create_task(world.calls.call("echo", HELLO, ANN))
    await world.script.begun.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    held.set()
    [running] = await world.calls.page(CallQuery(), 10, 0, ANN)
    assert (await world.calls.ended(running.id, ANN)).state is CallState.SUCCEEDED


async def test_a_call_that_is_cancelled_ends_at_once(world: World) -> None:
    await world.tool()
    world.script.hold()
    caller = asyncio.create_task(world.calls.call("echo", HELLO, ANN))
    await world.script.begun.wait()
    [running] = await world.calls.page(CallQuery(), 10, 0, ANN)
    with pytest.raises(NotFound):
        await world.calls.cancel(running.id, BOB)
    assert (await world.calls.cancel(running.id, CHIEF)).state is CallState.CANCELLED
    assert (await caller).state is CallState.CANCELLED
    assert world.script.cancelled == 1
    with pytest.raises(Conflict):
        await world.calls.cancel(running.id, ANN)
    assert await world.uses() == {"echo": 0}


async def test_more_calls_than_may_run_wait_and_then_are_refused(world: World) -> None:
    await world.tool()
    world.calls.rules = type(world.calls.rules)(concurrency=2, patience=0.05)
    held = world.script.hold()
    running = [asyncio.create_task(world.calls.call("echo", HELLO, ANN)) for _ in range(2)]
    await until(lambda: len(world.script.orders) == 2)
    with pytest.raises(ToolsBusy) as refused:
        await world.calls.call("echo", HELLO, ANN)
    assert refused.value.retry_after
    world.calls.rules = type(world.calls.rules)(concurrency=2, patience=5)
    waiting = asyncio.create_task(world.calls.call("echo", HELLO, ANN))
    left = asyncio.create_task(world.calls.call("echo", HELLO, ANN))
    await until(lambda: world.calls.places.waiting == 2)
    left.cancel()
    held.set()
    assert [(await one).state for one in (*running, waiting)] == [CallState.SUCCEEDED] * 3
    assert (world.calls.places.taken, world.calls.places.waiting) == (0, 0)
    assert await world.calls.count(CallQuery(), ANN) == 3


async def test_others_calls_are_seen_only_by_who_may_decide_about_them(world: World) -> None:
    await world.tool()
    call = await world.calls.call("echo", HELLO, ANN)
    await world.calls.call("echo", HELLO, BOB)
    with pytest.raises(NotFound):
        await world.calls.get(call.id, BOB)
    assert (await world.calls.get(call.id, CHIEF)).id == call.id
    assert [one.principal for one in await world.calls.page(CallQuery(), 10, 0, BOB)] == ["bob"]
    assert [one.principal for one in await world.calls.page(CallQuery(), 10, 0, CHIEF)] == ["bob", "ann"]
    assert await world.calls.count(CallQuery(), ANN) == 1
    with pytest.raises(Forbidden):
        await world.calls.page(CallQuery(principal="ann"), 10, 0, BOB)


async def test_secret_arguments_reach_the_tool_and_no_record_message_or_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await world.tool()
    call = await world.calls.call("echo", HELLO | {"password": "hunter2"}, ANN)
    assert world.script.orders[0].arguments == {"text": "hello", "password": "hunter2"}
    assert call.arguments == {"text": "hello", "password": "***"}
    assert "hunter2" not in repr(await world.store.get(call.id)).replace(repr(call.result), "")
    with pytest.raises(InvalidArguments) as refused:
        await world.calls.call("echo", HELLO | {"password": "hu"}, ANN)
    assert "hu" not in json.dumps(refused.value.details["problems"]).replace("maxLength", "")
    assert "hunter2" not in caplog.text
    assert "hello" not in caplog.text


async def test_the_tool_tells_its_own_cost(world: World) -> None:
    await world.tool(cost=0.5)
    world.script.steps = [lambda _: CallOutcome(1, cost=0.125)]
    assert (await world.calls.call("echo", HELLO, ANN)).cost == 0.125
