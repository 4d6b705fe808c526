"""The store of calls of tools: the same on every back end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import uuid4

from orchestrator.domain.artifact import Artifact, Origin
from orchestrator.domain.tool import ApprovalRule, Execution, SideEffect, Tool, ToolKind, ToolQuery, ToolSource
from orchestrator.domain.tool_call import CallError, CallQuery, CallState, Decision, ToolCall, moved
from orchestrator.ports.store import Storage

NOW = 1_790_000_000.0
EXECUTION = Execution(
    ToolKind.HTTP,
    {"url": "http://127.0.0.1:9/x", "headers": {"a": ["b", 1, None]}},
    SideEffect.WRITE,
    ApprovalRule.ALWAYS,
    timeout=2.5,
    attempts=3,
    cost=0.25,
)


def _tool(name: str = "weather", execution: Execution | None = EXECUTION) -> Tool:
    return Tool(str(uuid4()), name, "net", created_at=NOW, updated_at=NOW, execution=execution)


def _call(at: float = NOW, **fields: object) -> ToolCall:
    call = ToolCall(str(uuid4()), "builtin", "builtin", {"a": 1}, "ann", CallState.RUNNING, at, owner="one")
    return replace(call, **fields)  # type: ignore[arg-type]


async def test_everything_of_a_call_comes_back(storage: Storage) -> None:
    call = _call(
        arguments={"text": "NUL \0 and \ud7ff", "big": 2**70, "deep": [[{}]], "none": None},
        side_effect=SideEffect.DANGEROUS,
        started_at=NOW + 1,
        ended_at=NOW + 2,
        attempts=3,
        state=CallState.FAILED,
        result={"x": ["\0", 1.5, False]},
        error=CallError("invalid_result", "no \0", ({"path": "/a", "message": "m"},)),
        artifacts=("a", "b"),
        cost=0.5,
        decision=Decision(True, "bob", NOW, "why"),
        expires_at=NOW + 9,
        idempotency_key="k",
        digest="d",
        task="t",
        run="r",
        agent="g",
        timeout=3.0,
        secrets=("/password",),
    )
    assert await storage.tool_calls.add(call) == call
    assert await storage.tool_calls.get(call.id) == call


async def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    for name in (str(uuid4()), "", "no-uuid", "\0", "x" * 5_000):
        assert await storage.tool_calls.get(name) is None
    assert await storage.tool_calls.page(CallQuery(principal="\0"), 10, 0) == ()
    assert await storage.tool_calls.count(CallQuery(task="nothing")) == 0


async def test_an_idempotency_key_belongs_to_one_call_of_a_principal(storage: Storage) -> None:
    first, second = _call(idempotency_key="k"), _call(idempotency_key="k")
    assert await storage.tool_calls.add(first) == first
    assert await storage.tool_calls.add(second) == first
    assert await storage.tool_calls.get(second.id) is None
    other = replace(second, principal="bob")
    assert await storage.tool_calls.add(other) == other


async def test_of_many_adders_with_one_key_one_wins(storage: Storage) -> None:
    calls = [_call(idempotency_key="k") for _ in range(8)]
    found = await asyncio.gather(*(storage.tool_calls.add(call) for call in calls))
    assert len({call.id for call in found}) == 1
    assert await storage.tool_calls.count(CallQuery()) == 1


async def test_a_change_is_made_only_from_the_state_and_owner_that_are_expected(storage: Storage) -> None:
    call = await storage.tool_calls.add(_call())
    over = moved(call, CallState.SUCCEEDED, ended_at=NOW + 1, result=1)
    assert not await storage.tool_calls.save(over, replace(call, owner="two"))
    assert not await storage.tool_calls.save(over, replace(call, state=CallState.PENDING_APPROVAL))
    assert await storage.tool_calls.save(over, call)
    assert await storage.tool_calls.get(call.id) == over
    assert not await storage.tool_calls.save(moved(call, CallState.CANCELLED), call)
    assert not await storage.tool_calls.save(over, replace(call, id=str(uuid4())))


async def test_pages_are_newest_first_and_without_results(storage: Storage) -> None:
    calls = [
        await storage.tool_calls.add(
            _call(NOW + number, principal="ann" if number % 2 else "bob", tool_id=f"t{number % 3}", result=number)
        )
        for number in range(6)
    ]
    waiting = await storage.tool_calls.add(
        _call(NOW + 9, state=CallState.PENDING_APPROVAL, task="x", expires_at=NOW + 20)
    )
    ids = [call.id for call in reversed(calls)]

    async def found(wanted: CallQuery, limit: int = 100, skip: int = 0) -> list[str]:
        page = await storage.tool_calls.page(wanted, limit, skip)
        assert all(call.result is None for call in page)
        return [call.id for call in page]

    assert await found(CallQuery()) == [waiting.id, *ids]
    assert await found(CallQuery(), 2, 1) == ids[:2]
    assert await found(CallQuery(), 2, 2**70) == []
    assert await found(CallQuery(state=CallState.PENDING_APPROVAL)) == [waiting.id]
    assert await found(CallQuery(principal="ann", tool_id="t1")) == [calls[1].id]
    assert await found(CallQuery(task="x")) == [waiting.id]
    assert await found(CallQuery(due=NOW + 19)) == []
    assert await found(CallQuery(due=NOW + 20)) == [waiting.id]
    assert await storage.tool_calls.count(CallQuery(state=CallState.RUNNING)) == 6
    assert {call.id for call in await storage.tool_calls.running()} == set(ids)


async def test_old_calls_are_forgotten_the_oldest_first_and_their_keys_are_free(storage: Storage) -> None:
    ended = [
        _call(NOW, state=CallState.FAILED, ended_at=NOW + number, idempotency_key=f"k{number}") for number in range(4)
    ]
    for call in (*ended, _call()):
        await storage.tool_calls.add(call)
    assert await storage.tool_calls.forget(NOW + 3, 2) == 2
    assert await storage.tool_calls.forget(NOW + 3, 2) == 1
    assert await storage.tool_calls.forget(NOW + 3, 2) == 0
    assert await storage.tool_calls.get(ended[3].id) == ended[3]
    again = _call(idempotency_key="k0")
    assert await storage.tool_calls.add(again) == again


async def test_a_tool_keeps_how_it_is_called_and_is_found_by_it(storage: Storage) -> None:
    tool, described = _tool(), _tool("described", None)
    for one in (tool, described):
        await storage.tools.add(one)
    assert await storage.tools.get(tool.tool_id) == tool
    assert await storage.tools.page(ToolQuery(kind=ToolKind.HTTP), 10, 0) == (tool,)
    assert await storage.tools.page(ToolQuery(side_effect=SideEffect.READ), 10, 0) == ()
    assert await storage.tools.count(ToolQuery(side_effect=SideEffect.WRITE, text="weather")) == 1
    assert await storage.tools.count(ToolQuery(source=ToolSource.REGISTRY)) == 2
    assert await storage.tools.page(ToolQuery(source=ToolSource.BUILTIN), 10, 0) == ()
    without = replace(tool, execution=None, updated_at=NOW + 1)
    assert await storage.tools.save(without)
    assert await storage.tools.get(tool.tool_id) == without
    assert await storage.tools.count(ToolQuery(kind=ToolKind.HTTP)) == 0


async def _usage(storage: Storage) -> dict[str, tuple[int, int, float | None]]:
    rows = await storage.tool_reports.usage(10, 0)
    return {row["name"]: (row["usage_count"], row["total_output_size"], row["last_used"]) for row in rows}


async def _ended(storage: Storage, tool: Tool, at: float, state: CallState, attempts: int = 1) -> ToolCall:
    call = await storage.tool_calls.add(_call(at - 1, tool_id=tool.tool_id, tool_name=tool.name))
    assert await storage.tool_calls.save(moved(call, state, ended_at=at, attempts=attempts), call)
    return call


def _artifact(tool: Tool, at: float, call: str = "") -> Artifact:
    return Artifact(str(uuid4()), "f", "text/plain", "/f", 100, at, Origin(tool.tool_id, call=call))


async def test_uses_are_calls_and_artifacts_that_no_call_made(storage: Storage) -> None:
    tool, idle = _tool(), _tool("idle")
    for one in (tool, idle):
        await storage.tools.add(one)
    assert await _usage(storage) == {"weather": (0, 0, None), "idle": (0, 0, None)}
    call = await _ended(storage, tool, NOW + 5, CallState.SUCCEEDED)
    await _ended(storage, tool, NOW + 4, CallState.FAILED, attempts=2)
    await _ended(storage, tool, NOW + 6, CallState.CANCELLED, attempts=0)
    own, made = _artifact(tool, NOW + 1), _artifact(tool, NOW + 2, call.id)
    for artifact in (own, made):
        await storage.artifacts.add(artifact)
    assert (await storage.artifacts.get(made.id)) == made
    assert (await _usage(storage))["weather"] == (3, 200, NOW + 5)
    later = _artifact(tool, NOW + 8)
    await storage.artifacts.add(later)
    assert (await _usage(storage))["weather"] == (4, 300, NOW + 8)
    await storage.artifacts.delete([made.id, later.id])
    assert (await _usage(storage))["weather"] == (3, 100, NOW + 5)
    assert [row["name"] for row in await storage.tool_reports.usage(1, 0)] == ["weather"]
    await storage.tools.delete(tool.tool_id)
    assert "weather" not in await _usage(storage)


async def test_what_a_call_has_made_is_nobodys_rubbish_no_more(storage: Storage) -> None:
    rubbish = Artifact(str(uuid4()), "f", "text/plain", "/f", 1, NOW)
    made = replace(rubbish, id=str(uuid4()), origin=Origin(call=str(uuid4())))
    for artifact in (rubbish, made):
        await storage.artifacts.add(artifact)
    assert await storage.tool_upkeep.orphans(10) == (rubbish.id,)
