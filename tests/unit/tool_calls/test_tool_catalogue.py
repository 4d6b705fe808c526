"""Which tool a name means, and which tools there are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tool_call_parts import World

from orchestrator.domain.errors import Conflict, InvalidRequest, NotFound
from orchestrator.domain.tool import Execution, SideEffect, Tool, ToolKind, ToolQuery, ToolSource


async def test_a_tool_is_found_by_id_by_name_and_then_among_the_others(world: World) -> None:
    echo, builtin, shadowed = await world.tool(), world.builtin("clock"), world.builtin("echo")
    find = world.catalogue.find
    assert await find(echo.tool_id) == await find(echo.tool_id.upper()) == await find("echo") == echo
    assert await find("clock") == await find("builtin:clock") == builtin
    assert await find("builtin:echo") == shadowed
    assert await find("registry:echo") == echo
    for name in ("nothing", "builtin:nothing", "registry:clock", "mcp:clock", "", ":", "\0"):
        with pytest.raises(NotFound):
            await find(name)


async def test_nobody_takes_the_place_of_a_tool_that_is_there_already(world: World) -> None:
    builtin = world.builtin("clock")
    described = Tool("00000000-0000-4000-8000-000000000001", "clock", "test")
    world.catalogue.check(described)  # as in the registry's contract; it cannot be called
    await world.storage.tools.add(described)
    assert await world.catalogue.find("clock") == builtin
    assert await world.catalogue.find(described.tool_id) == described
    with pytest.raises(Conflict, match="clock"):
        world.catalogue.check(replace(described, execution=Execution(ToolKind.HTTP)))


async def test_a_tool_of_the_registry_may_have_a_colon_in_its_name(world: World) -> None:
    assert await world.catalogue.find((await world.tool("a:b")).name)
    assert (await world.catalogue.find("registry:a:b")).name == "a:b"


async def test_the_same_tool_is_never_another_one_of_that_name(world: World) -> None:
    builtin = world.builtin("echo")
    await world.tool("echo")
    assert await world.catalogue.same("echo") == builtin
    del world.builtins.named["echo"]
    with pytest.raises(NotFound):
        await world.catalogue.same("echo")


async def test_pages_go_through_all_tools_once(world: World) -> None:
    for name in ("b", "a"):
        world.builtin(name)
    for name in ("y", "x", "z"):
        await world.tool(name)
    names = []
    for skip in range(0, 6, 2):
        names += [one.name for one in await world.catalogue.page(ToolQuery(), 2, skip)]
    assert names == ["b", "a", "y", "x", "z"] or names == ["a", "b", "y", "x", "z"]
    assert await world.catalogue.count(ToolQuery()) == 5
    assert await world.catalogue.page(ToolQuery(), 2, 9) == ()


async def test_queries_hold_for_all_tools(world: World) -> None:
    world.builtin("reader", execution=Execution(ToolKind.BUILTIN, side_effect=SideEffect.READ), tags=("Files",))
    await world.tool("writer")

    async def names(wanted: ToolQuery) -> list[str]:
        found = [one.name for one in await world.catalogue.page(wanted, 10, 0)]
        assert await world.catalogue.count(wanted) == len(found)
        return found

    assert await names(ToolQuery(source=ToolSource.BUILTIN)) == ["reader"]
    assert await names(ToolQuery(source=ToolSource.REGISTRY)) == ["writer"]
    assert await names(ToolQuery(source=ToolSource.MCP)) == []
    assert await names(ToolQuery(kind=ToolKind.HTTP)) == ["writer"]
    assert await names(ToolQuery(side_effect=SideEffect.READ)) == ["reader"]
    assert await names(ToolQuery(tag="file")) == ["reader"]
    assert await names(ToolQuery(text="writer")) == ["writer"]


async def test_what_the_registry_may_keep_is_checked_by_the_kinds_runner(world: World) -> None:
    tool = await world.tool()
    world.catalogue.check(tool)
    world.catalogue.check(replace(tool, execution=None))
    world.catalogue.check(replace(tool, execution=Execution(ToolKind.AGENT)))
    for execution in (Execution(ToolKind.HTTP, {"bad": 1}), Execution(ToolKind.CONTAINER)):
        with pytest.raises(InvalidRequest):
            world.catalogue.check(replace(tool, execution=execution))
