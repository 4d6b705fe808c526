"""What the registry keeps in the database itself: views, functions, indexes, and the totals that triggers keep."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from orchestrator.adapters.sql.artifact_tables import artifacts
from orchestrator.adapters.sql.database import Database, open_database
from orchestrator.adapters.sql.location import locate
from orchestrator.adapters.sql.registry_tables import tool_totals, tools
from orchestrator.adapters.sql.tools import has_property
from orchestrator.domain.artifact import Artifact, Origin
from orchestrator.domain.registry_node import RegistryNode, RegistryNodeType, RegistryStatus
from orchestrator.domain.tool import Tool
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage

NODE = RegistryNode(str(uuid4()), RegistryNodeType.TOOL_EXECUTOR, "http://w", RegistryStatus.ACTIVE, "n")


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    async with open_storage(database_url) as opened:
        yield opened


@pytest.fixture
async def database(database_url: str, storage: Storage) -> AsyncIterator[Database]:
    async with open_database(locate(database_url)) as opened:
        yield opened


async def read(database: Database, query: str, **values: Any) -> list[dict[str, Any]]:
    async with database.read() as connection:
        return [dict(row._mapping) for row in await connection.execute(sa.text(query), values)]


def artifact(tool: Tool | None, size: int, at: float) -> Artifact:
    by = Origin(tool=tool.tool_id) if tool is not None else Origin()
    return Artifact(str(uuid4()), "a", "b/c", "s3://d", size, at, by)


async def two_tools(storage: Storage) -> tuple[Tool, Tool]:
    await storage.registry_nodes.put(NODE)
    schema: dict[str, Any] = {"properties": {"file_path": {}, "it's": {}}}
    first = Tool(str(uuid4()), "first", "A", input_schema=schema, target_node_id=NODE.node_id)
    second = Tool(str(uuid4()), "second", "B")
    for tool in (first, second):
        await storage.tools.add(tool)
    for tag in ("x", "y"):
        await storage.tools.tag(first.tool_id, tag, 1.0)
    await storage.artifacts.add(artifact(first, 7, 1.0))
    return first, second


async def test_the_views_have_the_contract_s_columns(database: Database, storage: Storage) -> None:
    first, second = await two_tools(storage)
    active = await read(database, "SELECT * FROM active_tools_with_nodes ORDER BY name")
    assert [(row["name"], row["node_status"], row["address"]) for row in active] == [
        ("first", "ACTIVE", "http://w"),
        ("second", None, None),
    ]
    tagged = await read(database, "SELECT name, tags FROM tools_with_tags ORDER BY name")
    tags = [json.loads(row["tags"]) if isinstance(row["tags"], str) else row["tags"] for row in tagged]
    assert tags == [["x", "y"], []]
    [made] = await read(database, "SELECT * FROM artifacts_with_tools")
    assert (made["tool_name"], made["tool_category"], made["size_bytes"]) == ("first", "A", 7)
    assert second.name == "second"
    assert str(made["tool_id"]) == first.tool_id


async def test_totals_are_right_after_any_changes(database: Database, storage: Storage) -> None:
    chosen = random.Random(1)
    made: list[Artifact] = []
    pair = await two_tools(storage)
    await storage.artifacts.delete([str(row["artifact_id"]) for row in await read(database, "SELECT * FROM artifacts")])
    for _ in range(60):
        if made and chosen.random() < 0.4:
            gone = chosen.sample(made, min(len(made), 3))
            await storage.artifacts.delete([one.id for one in gone])
            made = [one for one in made if one not in gone]
        else:
            one = artifact(chosen.choice((*pair, None)), chosen.randrange(10**10), chosen.random())
            await storage.artifacts.add(one)
            made.append(one)
    moved = sa.update(artifacts).where(artifacts.c.created_by_tool_id == pair[0].tool_id)
    await database.run(moved.values(created_by_tool_id=pair[1].tool_id))
    await assert_counted(database)
    await storage.tools.delete(pair[1].tool_id)
    assert await read(database, "SELECT count(*) AS n FROM artifacts WHERE created_by_tool_id IS NOT NULL") == [
        {"n": 0}
    ]
    await assert_counted(database)


async def assert_counted(database: Database) -> None:
    """The totals are what a recount says."""
    made, kept = artifacts.c, tool_totals.c
    none = (sa.func.coalesce(column, 0) for column in (made.size_bytes, made.created_at))
    size, at = none
    recount = (
        sa.select(
            tools.c.tool_id,
            sa.func.count(made.artifact_id),
            sa.func.sum(size),
            sa.func.max(size),
            sa.func.min(at),
            sa.func.max(at),
        )
        .select_from(tools.outerjoin(artifacts, made.created_by_tool_id == tools.c.tool_id))
        .group_by(tools.c.tool_id)
        .order_by(tools.c.tool_id)
    )
    stored = sa.select(kept.tool_id, kept.artifacts, kept.bytes, kept.largest, kept.first_at, kept.last_at)
    counted = [tuple(row) for row in await database.rows(recount)]
    assert [tuple(row) for row in await database.rows(stored.order_by(kept.tool_id))] == counted


async def test_many_writers_of_the_same_tools_do_not_wait_for_each_other_for_ever(
    database: Database, storage: Storage
) -> None:
    pair = await two_tools(storage)

    async def work(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(10):
            some = [artifact(chosen.choice(pair), chosen.randrange(100), 1.0) for _ in range(4)]
            for one in some:
                await storage.artifacts.add(one)
            await storage.artifacts.delete([one.id for one in some[:3]])

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(seed) for seed in range(4)))
    await assert_counted(database)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_the_functions_of_postgresql_work(database: Database, storage: Storage) -> None:
    first, _ = await two_tools(storage)
    [found] = await read(database, "SELECT * FROM get_tools_by_tag('x')")
    assert (str(found["tool_id"]), found["tags"]) == (first.tool_id, ["x", "y"])
    assert await read(database, "SELECT * FROM get_tools_by_tag('X')") == []
    [node] = await read(database, "SELECT * FROM get_node_statistics()")
    assert (node["total_tools"], node["active_tools"]) == (1, 1)
    assert (node["total_artifacts"], node["total_storage_bytes"]) == (1, 7)
    for name, count in (("file_path", 1), ("it's", 1), ("zz", 0), (None, 2)):
        found_tools = await read(
            database, "SELECT tool_name FROM search_tools_by_schema(input_property => CAST(:name AS text))", name=name
        )
        assert len(found_tools) == count, name


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_schemas_are_found_by_the_gin_index(database: Database) -> None:
    wanted = sa.select(tools.c.name).where(has_property("postgresql", tools.c.input_schema, 'file "path"'))
    dialect = sa.make_url("postgresql://").get_dialect()()
    text = str(wanted.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    async with database.read() as connection:
        await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = (await connection.exec_driver_sql(f"EXPLAIN {text}")).scalars().all()
    assert any("ix_tools_input_properties_gin" in line for line in plan), plan
