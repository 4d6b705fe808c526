from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from orchestrator.domain.artifact import Artifact, Origin
from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.registry_node import (
    RegistryNode,
    RegistryNodeType,
    RegistrySource,
    RegistryStatus,
    SeenNode,
)
from orchestrator.domain.tool import TOTALS, Tool, ToolOrder, ToolQuery, ToolStatus
from orchestrator.domain.worker import Worker
from orchestrator.ports.store import Storage

SCHEMA = {"type": "object", "properties": {"file_path": {"type": "string"}, 'od"d\\': True}}
NODE = RegistryNode(
    str(uuid4()), RegistryNodeType.TOOL_EXECUTOR, "http://worker-1:8000", RegistryStatus.ACTIVE, "n", created_at=1.5
)


def tool(name: str, **fields: object) -> Tool:
    values: dict[str, object] = {"category": "ANALYSIS", "created_at": 1.0, "updated_at": 1.0}
    return Tool(str(uuid4()), name, **(values | fields))  # type: ignore[arg-type]  # the test's own fields


def artifact(made_by: Tool | None, size: int, at: float = 10.0, **origin: str) -> Artifact:
    by = made_by.tool_id if made_by is not None else None
    return Artifact(str(uuid4()), "a.bin", "text/plain", "s3://b/a", size, at, Origin(tool=by, **origin))  # type: ignore[arg-type]  # texts only


async def names(storage: Storage, **wanted: object) -> list[str]:
    return [one.name for one in await storage.tools.page(ToolQuery(**wanted), 100, 0)]  # type: ignore[arg-type]  # as above


async def test_every_field_comes_back_as_it_was_added(storage: Storage) -> None:
    await storage.registry_nodes.put(NODE)
    full = tool(
        "größe '); DROP TABLE tools",
        description="🚚",
        version="2.1.0",
        status=ToolStatus.DEPRECATED,
        input_schema=SCHEMA,
        output_schema={},
        target_node_id=NODE.node_id,
        created_at=1_763_690_000.123456,
        put_out=True,
    )
    plain = tool("plain")
    for one in (full, plain):
        await storage.tools.add(one)
        assert await storage.tools.get(one.tool_id) == one
    assert await storage.tools.get(str(uuid4())) is None
    assert await storage.tools.count(ToolQuery()) == 2


async def test_a_name_belongs_to_one_tool_and_a_node_exists(storage: Storage) -> None:
    first, second = tool("a"), tool("b")
    await storage.tools.add(first)
    await storage.tools.add(second)
    with pytest.raises(Conflict):
        await storage.tools.add(tool("a"))
    with pytest.raises(Conflict):
        await storage.tools.save(replace(second, name="a"))
    with pytest.raises(InvalidRequest):
        await storage.tools.add(tool("c", target_node_id=str(uuid4())))
    with pytest.raises(InvalidRequest):
        await storage.tools.save(replace(second, target_node_id=str(uuid4())))
    assert await storage.tools.save(replace(second, name="c"))
    assert not await storage.tools.save(tool("d"))
    assert await names(storage, order=ToolOrder.NAME) == ["a", "c"]


async def test_pages_are_in_the_order_that_is_asked_for(storage: Storage) -> None:
    for place, (name, category) in enumerate([("b", "Z"), ("a", "Z"), ("c", "A"), ("B", "A")]):
        await storage.tools.add(tool(name, category=category, created_at=float(place)))
    assert await names(storage) == ["b", "a", "c", "B"]
    assert await names(storage, order=ToolOrder.NAME) == ["B", "a", "b", "c"]
    assert await names(storage, order=ToolOrder.CATEGORY) == ["B", "c", "a", "b"]
    page = await storage.tools.page(ToolQuery(), 2, 1)
    assert [one.name for one in page] == ["a", "c"]
    assert await storage.tools.page(ToolQuery(), 0, 0) == ()
    assert await storage.tools.page(ToolQuery(), 10, 2**63) == ()


async def test_tags_are_kept_once_with_their_case_and_found_without(storage: Storage) -> None:
    one = tool("one", status=ToolStatus.DISABLED)
    await storage.tools.add(one)
    for name in ("Meta", "meta", "Meta", "a/b", "50%", "STRASSE"):
        assert await storage.tools.tag(one.tool_id, name, 5.0)
    assert not await storage.tools.tag(str(uuid4()), "x", 5.0)
    found = await storage.tools.get(one.tool_id)
    assert found is not None
    assert found.tags == ("50%", "Meta", "STRASSE", "a/b", "meta")
    for part, count in (("ETA", 1), ("a/", 1), ("0%", 1), ("%", 1), ("_", 0), ("straße", 1), ("zzz", 0), ("\0", 0)):
        assert len(await names(storage, tag=part)) == count, part
    assert await names(storage, tag="meta", status=ToolStatus.ENABLED) == []
    assert await storage.tools.tag(one.tool_id, "meta", None)
    assert not await storage.tools.tag(one.tool_id, "meta", None)
    assert await storage.tools.delete(one.tool_id)
    assert not await storage.tools.delete(one.tool_id)
    assert await names(storage, tag="meta") == []


async def test_tools_are_found_by_the_properties_of_their_schemas_and_by_words(storage: Storage) -> None:
    nested: dict[str, Any] = {"properties": {"outer": {"properties": {"file_path": {}}}}}
    for one in (
        tool("file_analyzer", input_schema=SCHEMA, output_schema={"properties": {"metadata": {}}}),
        tool("nested", input_schema=nested, description="Reads the file_path of others"),
        tool("list", input_schema={"properties": ["file_path"]}),
        tool("none"),
    ):
        await storage.tools.add(one)
    assert await names(storage, input_property="file_path") == ["file_analyzer"]
    assert await names(storage, input_property='od"d\\') == ["file_analyzer"]
    assert await names(storage, input_property="file_path", output_property="metadata") == ["file_analyzer"]
    assert await names(storage, input_property="outer", output_property="metadata") == []
    assert await names(storage, input_property="zz") == []
    assert await names(storage, input_property="\ud800") == []
    assert await names(storage, text="READS nest") == ["nested"]
    assert await storage.tools.count(ToolQuery(text="analysis")) == 4


async def test_tools_of_nodes_that_are_not_active_are_put_out_and_come_back(storage: Storage) -> None:
    await storage.registry_nodes.put(NODE)
    here, there = tool("here", target_node_id=NODE.node_id), tool("nowhere")
    old = tool("old", target_node_id=NODE.node_id, status=ToolStatus.DEPRECATED)
    for one in (here, there, old):
        await storage.tools.add(one)
    assert await storage.tool_upkeep.put_out(5.0) == ()
    await storage.registry_nodes.put(replace(NODE, status=RegistryStatus.ERROR))
    assert await storage.tool_upkeep.put_out(5.0) == ("here",)
    assert await storage.tool_upkeep.put_out(5.0) == ()
    assert await storage.tool_upkeep.rekindle(6.0) == ()
    found = await storage.tools.get(here.tool_id)
    assert found is not None
    assert (found.status, found.put_out, found.updated_at) == (ToolStatus.DISABLED, True, 5.0)
    await storage.registry_nodes.put(NODE)
    assert await storage.tool_upkeep.rekindle(4.0) == ("here",)
    found = await storage.tools.get(here.tool_id)
    assert found is not None
    assert (found.status, found.put_out) == (ToolStatus.ENABLED, False)
    assert found.updated_at > 5.0
    assert await storage.registry_nodes.delete(NODE.node_id)
    assert not await storage.registry_nodes.delete(NODE.node_id)
    assert await names(storage, unplaced=True, order=ToolOrder.NAME) == ["here", "nowhere", "old"]
    assert await names(storage, node=NODE.node_id) == []


async def test_nodes_of_workers_and_servers_follow_what_is_seen(storage: Storage) -> None:
    nodes, new = storage.registry_nodes, str(uuid4())
    active = RegistryStatus.ACTIVE
    worker = SeenNode("w", RegistrySource.WORKER, RegistryNodeType.STORAGE_NODE, "http://w:1", active)
    server = SeenNode("s", RegistrySource.SERVER, RegistryNodeType.ANALYSIS_NODE, "http://s:1", active)
    await storage.workers.put(Worker("w"))
    await nodes.put(NODE)
    await nodes.see({new: worker, str(uuid4()): server}, 2.0)
    await nodes.see({str(uuid4()): replace(worker, status=RegistryStatus.ERROR)}, 3.0)
    found = await nodes.get(new)
    assert found is not None
    assert (found.id, found.status, found.created_at, found.updated_at) == ("w", RegistryStatus.ERROR, 2.0, 3.0)
    assert next(node.id for node in await nodes.page(10, 0)) == "n"
    assert {node.id for node in await nodes.page(10, 0, status=active)} == {"n", "s"}
    assert [node.id for node in await nodes.page(10, 0, node_type=RegistryNodeType.STORAGE_NODE)] == ["w"]
    assert await nodes.own() == (NODE,)
    await nodes.forget((), 4.0)  # another process has them: the worker is stored, the server not removed
    assert {(node.id, node.status.value) for node in await nodes.page(10, 0)} == {
        ("n", "ACTIVE"),
        ("w", "ERROR"),
        ("s", "INACTIVE"),
    }
    await storage.workers.delete("w")
    await storage.nodes.delete("s")
    await nodes.forget(("s",), 5.0)
    assert {node.id for node in await nodes.page(10, 0)} == {"n", "s"}
    await nodes.forget((), 6.0)
    assert await nodes.page(10, 0) == (NODE,)


async def test_a_worker_that_takes_a_node_s_id_is_that_node(storage: Storage) -> None:
    own = replace(NODE, id=NODE.node_id)
    await storage.registry_nodes.put(own)
    seen = SeenNode(own.id, RegistrySource.WORKER, own.node_type, "http://here:1", RegistryStatus.INACTIVE)
    await storage.registry_nodes.see({str(uuid4()): seen}, 9.0)
    [found] = await storage.registry_nodes.page(10, 0)
    assert (found.node_id, found.source, found.address) == (own.node_id, RegistrySource.WORKER, "http://here:1")


async def test_reports_count_every_artifact_once_whatever_else_a_tool_has(storage: Storage) -> None:
    await storage.registry_nodes.put(NODE)
    many = tool("many", target_node_id=NODE.node_id)
    big, idle = tool("big", category="STORAGE", status=ToolStatus.DEPRECATED), tool("idle", category="Zero")
    for one in (many, big, idle):
        await storage.tools.add(one)
    for name in ("a", "b"):
        await storage.tools.tag(many.tool_id, name, 1.0)
    made = [artifact(many, size, at) for size, at in ((10, 30.0), (20, 10.0), (3, 20.0))]
    for left in (*made, artifact(big, 5_000_000_000), artifact(None, 7), artifact(None, 9, task="t")):
        await storage.artifacts.add(left)
    reports = storage.tool_reports
    assert await reports.tagged_tools(None, 10, 0) == (
        {"name": "many", "description": None, "category": "ANALYSIS", "tags": ["a", "b"], "artifact_count": 3},
        {"name": "idle", "description": None, "category": "Zero", "tags": [], "artifact_count": 0},
    )
    assert [row["name"] for row in await reports.tagged_tools("Zero", 10, 0)] == ["idle"]
    assert [row["avg_size_bytes"] for row in await reports.makers(10, 0)] == [11.0]
    assert await reports.categories(10, 0) == (
        _category("STORAGE", 1, 5_000_000_000, 10.0, 10.0),
        _category("ANALYSIS", 3, 33, 10.0, 30.0),
        _category("Zero", 0, 0, None, None),
    )
    assert [(row["name"], row["usage_count"], row["last_used"]) for row in await reports.usage(10, 0)] == [
        ("many", 3, 30.0),
        ("big", 1, 10.0),
        ("idle", 0, None),
    ]
    [node] = await reports.nodes(10, 0)
    assert (node["assigned_tools"], node["active_tools"], node["total_artifacts"]) == (1, 1, 3)
    assert node["total_storage_bytes"] == 33
    totals = await reports.totals()
    assert set(totals) == set(TOTALS)
    assert (totals["total_artifacts"], totals["total_storage_bytes"]) == (6, 5_000_000_049)
    assert (totals["orphaned_artifacts"], totals["large_artifacts"], totals["total_tags"]) == (1, 1, 2)
    assert (totals["total_tools"], totals["active_tools"], totals["tools_without_nodes"]) == (3, 2, 1)

    await storage.artifacts.delete([made[0].id])
    [row] = await reports.makers(10, 0)
    assert (row["total_artifacts"], row["total_size_bytes"], row["max_size_bytes"]) == (2, 23, 20)
    assert (await reports.usage(1, 0))[0]["last_used"] == 20.0
    await storage.tools.delete(many.tool_id)
    assert len(await storage.tool_upkeep.orphans(10)) == 3
    assert (await reports.totals())["total_artifacts"] == 5
    [row] = await reports.active_tools(10, 0)
    assert row["tool_name"] == "idle"
    assert row["node_status"] is None


def _category(name: str, count: int, total: int, oldest: float | None, newest: float | None) -> dict[str, object]:
    return {
        "category": name,
        "artifact_count": count,
        "total_size_bytes": total,
        "avg_size_bytes": total / count if count else 0.0,
        "oldest_artifact": oldest,
        "newest_artifact": newest,
    }
