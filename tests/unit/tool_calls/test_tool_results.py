"""What calls leave behind."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tool_call_parts import ANN, BOB, CHIEF, World

from orchestrator.domain.errors import Forbidden, ToolFailed
from orchestrator.domain.tool_call import INLINE_LIMIT, CallOutcome, CallState, Produced, ToolCall
from orchestrator.ports.artifacts import ArtifactQuery
from orchestrator.services.tool_calls.results import MOST_FILES

HELLO = {"text": "hello"}
PICTURE = Produced("a.png", "image/png", b"\x89PNG")


async def called(world: World, outcome: CallOutcome, **changes: Any) -> ToolCall:
    await world.tool(**changes)
    world.script.steps = [lambda _: outcome]
    return await world.calls.call("echo", HELLO, ANN, task="t", run="r", agent="g")


async def content(world: World, artifact_id: str) -> bytes:
    artifact = await world.artifacts.get(artifact_id)
    return b"".join([piece async for piece in world.artifacts.content(artifact, 0, artifact.size)])


async def test_files_become_artifacts_that_say_where_they_come_from(world: World) -> None:
    call = await called(world, CallOutcome({"ok": True}, (PICTURE, Produced("b.txt", "text/plain", b""))))
    assert call.state is CallState.SUCCEEDED
    picture, text = [await world.artifacts.get(one) for one in call.artifacts]
    assert (picture.file_name, picture.mime_type, picture.size, text.size) == ("a.png", "image/png", 4, 0)
    assert await content(world, picture.id) == PICTURE.content
    world.artifacts.readable(picture, ANN)
    world.artifacts.readable(picture, CHIEF)
    with pytest.raises(Forbidden):
        world.artifacts.readable(picture, BOB)
    origin = picture.origin
    assert (origin.tool, origin.call, origin.task, origin.run, origin.agent, origin.principal) == (
        call.tool_id,
        call.id,
        "t",
        "r",
        "g",
        "ann",
    )
    assert await world.uses() == {"echo": 1}


async def test_a_large_result_becomes_an_artifact(world: World) -> None:
    result = {"text": "x" * INLINE_LIMIT}
    call = await called(world, CallOutcome(result), output_schema={"required": ["text"]})
    [artifact_id] = call.artifacts
    assert call.result["artifact_id"] == artifact_id
    assert call.result["size_bytes"] > INLINE_LIMIT
    assert json.loads(await content(world, artifact_id)) == result


async def test_a_result_is_kept_as_json_says_it(world: World) -> None:
    given = {"nan": float("nan"), "pair": (1, 2), "bytes": b"a", "at": datetime(2026, 1, 1, tzinfo=UTC), 1: "\0"}
    call = await called(world, CallOutcome(given))
    assert call.result == {"nan": None, "pair": [1, 2], "bytes": "YQ==", "at": "2026-01-01T00:00:00Z", "1": "\0"}


@pytest.mark.parametrize("result", [object(), "\ud800", [[...]]])
async def test_what_is_no_json_value_is_no_result(world: World, result: Any) -> None:
    call = await called(world, CallOutcome(result))
    assert call.error is not None
    assert (call.state, call.error.code, call.result) == (CallState.FAILED, "invalid_result", None)


async def test_a_result_that_breaks_the_output_schema_fails_with_its_problems(world: World) -> None:
    call = await called(
        world, CallOutcome({"count": "3"}, (PICTURE,)), output_schema={"properties": {"count": {"type": "integer"}}}
    )
    assert call.error is not None
    assert (call.state, call.error.code) == (CallState.FAILED, "invalid_result")
    assert [one["path"] for one in call.error.problems] == ["/count"]
    assert call.artifacts == ()
    assert await world.artifacts.page(ArtifactQuery()) == ()


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ([PICTURE, Produced("a", "text/plain", b"x" * (7 << 20))], "quota_exceeded"),
        ([PICTURE, Produced("a", "text/plain", b"x" * (9 << 20))], "too_large"),
        ([PICTURE, Produced("", "text/plain", b"")], "invalid_request"),
        ([PICTURE] * (MOST_FILES + 1), "tool_failed"),
    ],
)
async def test_a_call_whose_files_cannot_be_kept_leaves_none(world: World, files: list[Produced], code: str) -> None:
    call = await called(world, CallOutcome(1, tuple(files)))
    assert call.error is not None
    assert (call.state, call.error.code) == (CallState.FAILED, code)
    assert await world.artifacts.page(ArtifactQuery()) == ()


async def test_a_call_that_is_cancelled_meanwhile_leaves_nothing(world: World) -> None:
    await world.tool()
    running: list[ToolCall] = []
    cancelling: list[asyncio.Task[ToolCall]] = []

    def outcome(_: Any) -> CallOutcome:
        cancelling.append(asyncio.create_task(world.calls.cancel(running[0].id, ANN)))
        return CallOutcome(1, (PICTURE,) * 20)

    held = world.script.hold()
    world.script.steps = [outcome]
    running.append(await world.calls.call("echo", HELLO, ANN, wait=0))
    held.set()
    over = await world.calls.ended(running[0].id, ANN)
    assert over.state is (await cancelling[0]).state is CallState.CANCELLED
    assert await world.artifacts.page(ArtifactQuery()) == ()


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0])
async def test_a_cost_that_is_none_is_not_charged(world: World, cost: float) -> None:
    call = await called(world, CallOutcome(1, cost=cost), cost=0.25)
    assert (call.state, call.cost) == (CallState.SUCCEEDED, 0.25)


async def test_what_a_tool_says_of_its_failure_can_always_be_kept(world: World) -> None:
    await world.tool()
    world.script.steps = [ToolFailed("NUL \0 and \ud800" + "x" * 10_000, details={"problems": [{"path": object()}]})]
    call = await world.calls.call("echo", HELLO, ANN)
    assert call.error is not None
    assert (call.state, call.error.problems, len(call.error.message)) == (CallState.FAILED, (), 4_000)
    assert call.error.message.startswith("NUL ? and ?x")
