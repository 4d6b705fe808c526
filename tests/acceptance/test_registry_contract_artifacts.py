"""Checks 16, 18, 20, 23 and 25 of the registry contract: what tools have made."""

from __future__ import annotations

from registry_contract import ANALYZER, NOBODY, Registry


async def test_checks_16_and_18_artifacts_of_a_tool_and_large_ones(served: Registry) -> None:
    tool = await served.tool("one")
    for size in (1, 2, 3):
        await served.artifact(size, tool)
    large = await served.artifact(5_000_000_000)
    body = {"file_name": "a", "mime_type": "b/c", "storage_pointer": "d", "size_bytes": -1}
    for wrong in (body, {"file_name": "a"}):
        answer = await served.client.post("/artifacts/", json=wrong)
        assert answer.status_code in (400, 422), answer.text
    assert len(await served.get(f"/artifacts/tool/{tool}")) == 3
    for path in ("/artifacts/large/", "/artifacts/large"):
        [found] = await served.get(path)
        assert (found["artifact_id"], found["size_bytes"]) == (large, 5_000_000_000)
    assert len(await served.get("/artifacts/?skip=1&limit=1")) == 1
    assert len(await served.get("/artifacts/?skip=0&limit=2")) == 2


async def test_check_20_tags_and_artifacts_do_not_multiply(served: Registry) -> None:
    tool = (await served.post("/tools/", ANALYZER))["tool_id"]
    await served.tool("untagged")
    for tag in ("a", "b"):
        await served.post(f"/tools/{tool}/tags/{tag}")
    for size in (1, 2, 3):
        await served.artifact(size, tool)
    assert await served.get("/queries/tools-by-category-with-tags") == [
        {
            "name": "file_analyzer",
            "description": "Analyzes files",
            "category": "ANALYSIS",
            "tags": ["a", "b"],
            "artifact_count": 3,
        },
        {"name": "untagged", "description": None, "category": "ANALYSIS", "tags": [], "artifact_count": 0},
    ]
    assert await served.get("/queries/tools-by-category-with-tags?category=NONE") == []


async def test_check_23_order_and_totals_are_whole_numbers(served: Registry) -> None:
    small, big = await served.tool("small", category="A"), await served.tool("big", category="B")
    await served.tool("idle", category="C")
    for size in (10, 20):
        await served.artifact(size, small)
    await served.artifact(5_000_000_000, big)
    usage = await served.get("/monitoring/storage-usage-by-category")
    assert [(row["category"], row["artifact_count"], row["total_size_bytes"]) for row in usage] == [
        ("B", 1, 5_000_000_000),
        ("A", 2, 30),
        ("C", 0, 0),
    ]
    assert (usage[1]["avg_size_bytes"], usage[2]["oldest_artifact"]) == (15.0, None)
    assert usage[1]["oldest_artifact"] <= usage[1]["newest_artifact"]
    tools = await served.get("/monitoring/tool-usage-statistics")
    assert [(row["name"], row["usage_count"]) for row in tools] == [("small", 2), ("big", 1), ("idle", 0)]
    assert (tools[2]["total_output_size"], tools[2]["last_used"]) == (0, None)
    assert await served.get("/queries/large-artifacts-by-tool") == [
        {
            "tool_name": name,
            "category": category,
            "total_artifacts": count,
            "total_size_bytes": total,
            "avg_size_bytes": total / count,
            "max_size_bytes": most,
        }
        for name, category, count, total, most in (
            ("big", "B", 1, 5_000_000_000, 5_000_000_000),
            ("small", "A", 2, 30, 20),
        )
    ]


async def test_check_25_what_goes_with_a_node_and_a_tool(served: Registry) -> None:
    node = await served.node()
    tool, kept = await served.tool("gone", target_node_id=node), await served.tool("kept", target_node_id=node)
    await served.post(f"/tools/{tool}/tags/x")
    for size in (1, 2, 3):
        await served.artifact(size, tool)
    await served.artifact(4, kept)
    [statistics] = await served.get("/queries/node-statistics")
    assert (statistics["assigned_tools"], statistics["total_artifacts"]) == (2, 4)
    assert statistics["total_storage_bytes"] == 10
    await served.call("DELETE", f"/nodes/{node}")
    assert (await served.get(f"/tools/{kept}"))["target_node_id"] is None
    await served.call("DELETE", f"/tools/{tool}")
    await served.get(f"/tools/{tool}", expect=404)
    assert await served.get("/tools/tags/x") == []
    counts = {row["issue"]: row["count"] for row in await served.get("/monitoring/data-integrity")}
    assert counts == {
        "Tools without nodes": 1,
        "Nodes without tools": 0,
        "Orphaned artifacts": 3,
        "Large artifacts": 0,
    }
    assert (await served.post("/maintenance/cleanup-orphaned-artifacts"))["deleted_count"] == 3
    assert (await served.post("/maintenance/cleanup-orphaned-artifacts"))["deleted_count"] == 0
    summary = await served.get("/stats/summary")
    assert (summary["total_nodes"], summary["total_tools"], summary["total_artifacts"]) == (0, 1, 1)
    assert summary["total_storage_bytes"] == 4
    assert len(await served.get("/artifacts/")) == 1
    await served.get(f"/artifacts/{NOBODY}", expect=404)
