"""Checks 1 to 15, 17, 19, 21, 22 and 24 of the registry contract (its section 5) on both databases, in
this process and in one of its own."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime
from pathlib import Path

import httpx2
from registry_contract import ANALYZER, EXECUTOR, NOBODY, Registry, registry


async def test_check_1_liveness_and_docs(served: Registry) -> None:
    for path in ("/health", "/", "/docs", "/redoc", "/openapi.json"):
        assert (await served.client.get(path)).status_code == 200, path
    assert "/tools/{tool_id}" in (await served.client.get("/docs")).text


async def test_checks_2_and_3_the_server_makes_uuids_and_a_node_is_inactive(served: Registry) -> None:
    node = await served.post("/nodes/", EXECUTOR)
    assert uuid.UUID(node["node_id"]).version == 4
    assert {name: node[name] for name in EXECUTOR} == EXECUTOR
    assert datetime.fromisoformat(node["created_at"]).utcoffset() is not None
    plain = await served.post("/nodes/", {"node_type": "STORAGE_NODE", "address": "http://s:1"})
    assert plain["status"] == "INACTIVE"


async def test_check_4_enums_are_enforced(served: Registry) -> None:
    for wrong in ({"node_type": "GPU"}, {"status": "UP"}, {"address": ""}, {"address": "x" * 256}):
        told = await served.post("/nodes/", EXECUTOR | wrong, expect=422)
        assert told["detail"][0]["loc"] == ["body", *wrong]
    await served.post("/tools/", {"name": "a", "category": "b", "status": "ON"}, expect=422)
    for broken in (b"{", b"[]", b'{"node_type": NaN}', b'{"node_type": "\\ud800"}', b'{"address": 1e999}', b""):
        answer = await served.client.post("/nodes/", content=broken, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, (broken, answer.text)


async def test_check_5_what_is_unknown_and_what_is_no_uuid(served: Registry) -> None:
    for area in ("nodes", "tools"):
        for method, body in (("GET", None), ("PUT", {}), ("DELETE", None)):
            missing = await served.call(method, f"/{area}/{NOBODY}", body, expect=404)
            assert "not found" in missing["detail"]
            await served.call(method, f"/{area}/not-a-uuid", body, expect=422)


async def test_checks_6_and_7_literal_paths_win_with_and_without_a_slash(served: Registry) -> None:
    active = await served.node()
    await served.node(node_type="STORAGE_NODE", status="INACTIVE")
    on, off = await served.tool("on"), await served.tool("off", status="DISABLED")
    for path in ("/nodes/active/", "/nodes/active"):
        assert [node["node_id"] for node in await served.get(path)] == [active]
    for path in ("/tools/active/", "/tools/active"):
        assert [tool["tool_id"] for tool in await served.get(path)] == [on]
    assert {tool["tool_id"] for tool in await served.get("/tools")} == {on, off}
    assert len(await served.get("/nodes/type/STORAGE_NODE")) == 1
    assert await served.get("/nodes/type/GPU") == []
    assert (await served.post("/nodes", EXECUTOR))["node_id"]


async def test_check_8_a_partial_put_keeps_the_rest_and_is_newer(served: Registry) -> None:
    node = await served.post("/nodes/", EXECUTOR)
    after = await served.put(f"/nodes/{node['node_id']}", {"status": "MAINTENANCE"})
    assert (after["address"], after["status"]) == (node["address"], "MAINTENANCE")
    assert after["updated_at"] > node["updated_at"]
    assert after["created_at"] == node["created_at"]
    assert await served.get(f"/nodes/{node['node_id']}") == after
    again = await served.put(f"/nodes/{node['node_id']}", {**after, "status": None})
    assert again | {"updated_at": ""} == after | {"updated_at": ""}


async def test_checks_9_and_13_defaults_and_what_may_be_null(served: Registry) -> None:
    tool = await served.post("/tools/", {"name": "lonely", "category": "MY_OWN_CATEGORY"})
    assert (tool["version"], tool["status"], tool["category"]) == ("1.0.0", "ENABLED", "MY_OWN_CATEGORY")
    for name in ("description", "input_schema", "output_schema", "target_node_id"):
        assert tool[name] is None, name
    assert await served.get(f"/tools/{tool['tool_id']}") == tool
    path = f"/tools/{tool['tool_id']}"
    changed = await served.put(path, {"description": "x", "output_schema": {"properties": {}}})
    assert (changed["description"], changed["output_schema"]) == ("x", {"properties": {}})
    assert (await served.put(path, {"description": None, "name": None}))["description"] is None


async def test_checks_10_and_11_a_name_is_unique_and_a_node_exists(served: Registry) -> None:
    await served.post("/tools/", ANALYZER)
    other = await served.tool("other")
    await served.post("/tools/", ANALYZER, expect=409)
    await served.put(f"/tools/{other}", {"name": "file_analyzer"}, expect=409)
    for body in ({"target_node_id": NOBODY}, {"name": "x\0", "target_node_id": None}):
        told = await served.put(f"/tools/{other}", body, expect=400)
        assert told["detail"]
    await served.post("/tools/", ANALYZER | {"name": "third", "target_node_id": NOBODY}, expect=400)


async def test_check_12_tools_are_found_by_name_and_category(served: Registry) -> None:
    tool = await served.post("/tools/", ANALYZER)
    slashed = await served.tool("a/b c?", category="x/y")
    assert (await served.get("/tools/name/file_analyzer"))["tool_id"] == tool["tool_id"]
    assert (await served.get("/tools/name/a%2Fb%20c%3F"))["tool_id"] == slashed
    await served.get("/tools/name/nope", expect=404)
    assert [row["name"] for row in await served.get("/tools/category/ANALYSIS")] == ["file_analyzer"]
    assert [row["name"] for row in await served.get("/tools/category/x/y")] == ["a/b c?"]


async def test_checks_14_and_15_tags(served: Registry) -> None:
    tool, off = await served.tool("one"), await served.tool("off", status="DISABLED")
    for _ in range(2):
        await served.post(f"/tools/{tool}/tags/analysis")
    for tag in ("Meta", "a%2Fb"):
        await served.post(f"/tools/{tool}/tags/{tag}")
    await served.post(f"/tools/{off}/tags/analysis")
    await served.post(f"/tools/{NOBODY}/tags/x", expect=404)
    await served.post(f"/tools/{tool}/tags/{'x' * 51}", expect=400)
    assert (await served.get(f"/tools/{tool}"))["tags"] == ["Meta", "a/b", "analysis"]
    for part, count in (("META", 1), ("naly", 1), ("zzz", 0), ("A%2Fb", 1), ("%25", 0), ("_", 0)):
        assert len(await served.get(f"/tools/tags/{part}")) == count, part
    await served.call("DELETE", f"/tools/{tool}/tags/Meta")
    await served.call("DELETE", f"/tools/{tool}/tags/Meta", expect=404)
    assert (await served.get(f"/tools/{tool}"))["tags"] == ["a/b", "analysis"]


async def test_check_17_pages_and_what_else_a_list_takes(served: Registry) -> None:
    made = [await served.tool(f"t{place}", category=f"c{place % 2}") for place in range(5)]
    assert [row["tool_id"] for row in await served.get("/tools/?skip=1&limit=2")] == made[1:3]
    assert await served.get("/tools/?limit=0") == []
    for wrong in ("skip=x", "limit=-1", "skip=-1", "limit=1.5"):
        told = await served.get(f"/tools/?{wrong}", expect=422)
        assert told["detail"][0]["loc"][0] == "query"
    answer = await served.client.get("/tools/?category=c0&limit=1&count=true")
    assert (len(answer.json()), answer.headers["x-total-count"]) == (1, "3")
    await served.post(f"/tools/{made[3]}/tags/Seen")
    assert [row["name"] for row in await served.get("/tools/?tag=seen")] == ["t3"]
    assert [row["name"] for row in await served.get("/tools/?q=T3+seen")] == ["t3"]
    for path in ("/nodes/", "/queries/active-tools-with-nodes", "/monitoring/tool-usage-statistics"):
        assert await served.get(f"{path}?skip=100") == []


async def test_check_19_active_tools_with_their_nodes(served: Registry) -> None:
    node = await served.node()
    await served.tool("z", category="A", target_node_id=node)
    await served.tool("a", category="B")
    await served.tool("b", category="A")
    await served.tool("off", category="A", status="DISABLED")
    found = await served.get("/queries/active-tools-with-nodes")
    assert [(row["tool_name"], row["node_status"]) for row in found] == [("b", None), ("z", "ACTIVE"), ("a", None)]
    assert set(found[0]) == {
        "tool_name",
        "category",
        "version",
        "tool_status",
        "node_type",
        "address",
        "node_status",
    }


async def test_check_21_node_health_counts_and_keeps_nodes_without_tools(served: Registry) -> None:
    node, bare = await served.node(), await served.node(node_type="ANALYSIS_NODE", status="INACTIVE")
    await served.tool("on", target_node_id=node)
    await served.tool("off", target_node_id=node, status="DEPRECATED")
    found = await served.get("/queries/node-health-status")
    assert found == [
        {
            "node_id": bare,
            "node_type": "ANALYSIS_NODE",
            "address": EXECUTOR["address"],
            "status": "INACTIVE",
            "assigned_tools": 0,
            "active_tools": 0,
        },
        {"node_id": node, **EXECUTOR, "assigned_tools": 2, "active_tools": 1},
    ]


async def test_check_22_schema_search(served: Registry) -> None:
    await served.post("/tools/", ANALYZER)
    await served.tool("plain")
    await served.post("/tools/", ANALYZER | {"name": "off", "status": "DISABLED"})
    path = "/queries/search-tools-by-schema"
    for query, count in (
        ("input_property=file_path", 1),
        ("output_property=metadata", 1),
        ("input_property=zz", 0),
        ("input_property=file_path&output_property=metadata", 1),
        ("input_property=file_path&output_property=zz", 0),
        ("", 2),
    ):
        assert len(await served.get(f"{path}?{query}")) == count, query


async def test_check_24_tools_are_disabled_one_way(served: Registry) -> None:
    node = await served.node()
    tool, lonely = await served.tool("on", target_node_id=node), await served.tool("lonely")
    for status in ("ERROR", "INACTIVE"):
        await served.put(f"/nodes/{node}", {"status": status})
        await served.put(f"/tools/{tool}", {"status": "ENABLED"})
        assert (await served.post("/maintenance/update-tool-status"))["updated_count"] == 1
        assert (await served.get(f"/tools/{tool}"))["status"] == "DISABLED"
    await served.put(f"/nodes/{node}", {"status": "ACTIVE"})
    assert (await served.post("/maintenance/update-tool-status"))["updated_count"] == 0
    assert (await served.get(f"/tools/{tool}"))["status"] == "DISABLED"
    assert (await served.get(f"/tools/{lonely}"))["status"] == "ENABLED"
    assert [row["name"] for row in await served.get("/maintenance/tools-without-nodes")] == ["lonely"]


async def test_tools_come_back_where_the_operator_has_set_it(database_url: str, tmp_path: Path) -> None:
    async with registry(database_url, tmp_path, tools={"reenable": True}) as served:
        node = await served.node(status="ERROR")
        tool, off = await served.tool("on", target_node_id=node), await served.tool("off", status="DISABLED")
        await served.put(f"/tools/{off}", {"target_node_id": node})
        await served.post("/maintenance/update-tool-status")
        assert (await served.get(f"/tools/{tool}"))["status"] == "DISABLED"
        await served.put(f"/nodes/{node}", {"status": "ACTIVE"})
        assert (await served.get(f"/tools/{tool}"))["status"] == "ENABLED"
        assert (await served.get(f"/tools/{off}"))["status"] == "DISABLED"


async def test_twenty_that_add_a_name_at_once_leave_one_tool_of_a_name(database_url: str, tmp_path: Path) -> None:
    async with registry(database_url, tmp_path) as served:

        async def add() -> int:
            async with httpx2.AsyncClient(base_url=served.running.url, timeout=40) as client:
                return (await client.post("/tools/", json=ANALYZER)).status_code

        statuses = await asyncio.gather(*(add() for _ in range(20)))
        assert sorted(statuses) == [200] + [409] * 19
