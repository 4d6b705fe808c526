"""Search over tools and artifacts: by words, by meaning with an embedding model of the fleet, and both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cli_command import CommandLine

from mcp_servers import connected, demo_server, stdio_entry
from orchestrator.ports.meanings import ThingKind
from orchestrator.testing.model_server import Model, ModelServer
from orchestrator_client import AsyncClient, Conflict
from service import RunningService, running_service

URL = "/api/v1/search"
TOOLS = (
    ("csv_reader", "Reads tables"),
    ("table_writer", "Writes a csv file"),
    ("weather", "Tells the temperature of a town"),
)


@asynccontextmanager
async def searched(
    tmp_path: Path, **config: Any
) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient, dict[str, str]]]:
    """A service with tools and an artifact; their ids by name."""
    ids: dict[str, str] = {}
    async with (
        running_service(config, tmp_path) as run,
        httpx2.AsyncClient(base_url=run.url, timeout=30, trust_env=False) as http,
    ):
        for name, description in TOOLS:
            body = {"name": name, "category": "C", "description": description}
            ids[name] = (await http.post("/tools/", json=body)).json()["tool_id"]
        told = {"file_name": "csv report.txt", "mime_type": "text/plain", "storage_pointer": "s3://x", "size_bytes": 1}
        ids["csv report.txt"] = (await http.post("/artifacts/", json=told)).json()["artifact_id"]
        yield run, http, ids


async def made(run: RunningService) -> None:
    """Waits until everything has a vector."""
    while await run.service.search_parts.meanings.work():
        pass


async def found(http: httpx2.AsyncClient, q: str, **params: Any) -> tuple[list[str], dict[str, Any]]:
    answer = await http.get(URL, params={"q": q, **params})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return [one["name"] for one in body["results"]], body


async def test_words_find_tools_and_artifacts_by_name_first(tmp_path: Path) -> None:
    async with searched(tmp_path) as (_, http, ids):
        names, body = await found(http, "csv", mode="text")
        registered = [name for name in names if name in ids]
        assert set(registered) == {"csv_reader", "csv report.txt", "table_writer"}
        assert registered[-1] == "table_writer"
        assert (body["mode"], body["model"]) == ("text", None)
        scores = [one["score"] for one in body["results"]]
        assert scores == sorted(scores, reverse=True)
        assert max(scores) == 1
        first = next(one for one in body["results"] if one["name"] == "csv report.txt")
        assert (first["kind"], first["id"]) == ("artifact", ids["csv report.txt"])
        assert first["artifact"]["mime_type"] == "text/plain"
        assert (await found(http, "csv", mode="text", kind="artifact"))[0] == ["csv report.txt"]
        assert len((await found(http, "csv", mode="text", limit=1))[0]) == 1


async def test_without_an_embedding_model_meaning_is_a_conflict_and_both_says_so(tmp_path: Path) -> None:
    async with searched(tmp_path) as (_, http, _ids):
        answer = await http.get(URL, params={"q": "csv", "mode": "meaning"})
        assert answer.status_code == 409
        assert answer.json()["details"]["code"] == "NO_EMBEDDING_MODEL"
        names, body = await found(http, "csv")
        assert "csv_reader" in names
        assert body["mode"] == "text"
        assert "embed" in body["note"]


async def test_demo_nodes_find_nothing_by_meaning(tmp_path: Path) -> None:
    async with searched(tmp_path, demo={"enabled": True}) as (run, http, _):
        await run.healthy(1)
        assert "demo-embed" in str((await http.get("/v1/models")).json())
        assert (await http.get(URL, params={"q": "csv", "mode": "meaning"})).status_code == 409
        names, body = await found(http, "csv")
        assert "csv_reader" in names
        assert "weather" not in names
        assert body["mode"] == "text"


async def test_meaning_is_the_nearest_vector_and_both_adds_the_ranks(tmp_path: Path) -> None:
    embedder = Model("nomic", capabilities=("embedding",))
    async with ModelServer([Model("llama3", capabilities=("completion",)), embedder]) as node:
        config = {"nodes": [{"id": "a", "url": node.url}]}
        async with searched(tmp_path, **config) as (run, http, _):
            await run.healthy(1)
            await made(run)
            # The fake model gives equal texts equal vectors, and others nearly orthogonal ones.
            question = "weather\nTells the temperature of a town"
            names, body = await found(http, question, mode="meaning", limit=2)
            assert names[0] == "weather"
            assert body["results"][0]["score"] == pytest.approx(1, abs=1e-4)
            assert body["model"].startswith("nomic")
            assert len(names) == 2
            names, body = await found(http, "csv_reader\nReads tables", mode="both", kind="tool")
            assert names[0] == "csv_reader"
            assert body["results"][0]["score"] == pytest.approx(2 / 61, abs=1e-4)
            assert (body["mode"], body["note"]) == ("both", None)
            names, _ = await found(http, "csv report.txt\ntext/plain", mode="meaning", kind="artifact")
            assert names == ["csv report.txt"]


async def test_tools_that_are_not_in_the_registry_are_found_by_meaning(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(ModelServer([Model("nomic", capabilities=("embedding",))]))
        tools = {"mcp_servers": {"demo": stdio_entry()}, "functions": {"shout": {"function": "os:getcwd"}}}
        config = {"nodes": [{"id": "a", "url": node.url}], "tools": {**tools, "mcp_hosts": ["127.0.0.0/8"]}}
        run, http, _ = await stack.enter_async_context(searched(tmp_path, **config))
        await run.healthy(1)
        await connected(run, "demo")
        await made(run)
        for name in ("template", "demo__echo", "shout"):
            tool = run.service.catalogue.offered()
            (one,) = (one for one in tool.values() if one.name == name)
            text = "\n".join(part for part in (name, one.description or "", ", ".join(one.tags)) if part)
            names, body = await found(http, text, mode="meaning", limit=1)
            assert names == [name]
            assert body["results"][0]["score"] == pytest.approx(1, abs=1e-4)
            assert body["results"][0]["tool"]["source"] == one.source
        before = run.service.gateway.outcomes.total()
        await made(run)
        assert run.service.gateway.outcomes.total() == before

        web = await stack.enter_async_context(demo_server())
        added = await http.post("/api/v1/mcp/servers", json={"name": "web", "url": web.url})
        assert added.status_code == 201, added.text
        await connected(run, "web")
        await made(run)
        text = "web__echo\nSays it again\nmcp, web"
        assert (await found(http, text, mode="meaning", limit=1))[0] == ["web__echo"]
        assert (await http.delete("/api/v1/mcp/servers/web")).status_code == 200
        assert "web__echo" not in (await found(http, text, mode="meaning", limit=100))[0]
        await made(run)
        assert (await found(http, "weather", mode="meaning", limit=1))[1]["results"]


async def test_no_model_is_asked_before_there_is_something_to_find_or_somebody_who_looks(tmp_path: Path) -> None:
    async with (
        ModelServer([Model("nomic", capabilities=("embedding",))]) as node,
        running_service({"nodes": [{"id": "a", "url": node.url}]}, tmp_path) as run,
        httpx2.AsyncClient(base_url=run.url, timeout=30, trust_env=False) as http,
    ):
        await run.healthy(1)
        await made(run)
        assert (await found(http, "csv", mode="text"))[0]
        assert run.service.gateway.outcomes.total() == 0
        await found(http, "tables", mode="meaning")
        await made(run)
        assert (await found(http, "tables", mode="meaning"))[0]


async def test_only_what_has_changed_is_embedded_again(tmp_path: Path) -> None:
    async with ModelServer([Model("nomic", capabilities=("embedding",))]) as node:
        config = {"nodes": [{"id": "a", "url": node.url}], "tools": {"embedding_model": "nomic"}}
        async with searched(tmp_path, **config) as (run, http, ids):
            await run.healthy(1)
            await made(run)
            before = run.service.gateway.outcomes.total()
            await http.put(f"/tools/{ids['weather']}", json={"category": "D"})  # no part of what is embedded
            pending = await run.service.storage.meanings.pending(ThingKind.TOOL, 9)
            assert {one for one, _ in pending} <= {ids["weather"]}
            await made(run)
            assert run.service.gateway.outcomes.total() == before
            await http.put(f"/tools/{ids['weather']}", json={"description": "Of today"})
            await made(run)
            assert run.service.gateway.outcomes.total() == before + 1
            assert (await found(http, "weather\nOf today", mode="meaning", limit=1))[0] == ["weather"]
            await http.delete(f"/tools/{ids['weather']}")
            assert "weather" not in (await found(http, "weather\nOf today", mode="meaning"))[0]


async def test_another_model_makes_all_vectors_again(tmp_path: Path) -> None:
    models = [Model("aaa", capabilities=("embedding",)), Model("bbb", capabilities=("embedding",))]
    async with ModelServer(models) as node:
        config = {"nodes": [{"id": "a", "url": node.url}], "tools": {"embedding_model": "aaa"}}
        async with searched(tmp_path, **config) as (run, http, _):
            await run.healthy(1)
            await made(run)
            change = await http.patch("/api/orchestrator/config/tools", json={"embedding_model": "bbb"})
            assert change.status_code == 200, change.text
            await made(run)
            names, body = await found(http, "weather\nTells the temperature of a town", mode="meaning", limit=1)
            assert (names, body["model"]) == (["weather"], "bbb")


async def test_a_model_that_fails_leaves_the_words(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(ModelServer([Model("nomic", capabilities=("embedding",))]))
        async with searched(tmp_path, nodes=[{"id": "a", "url": node.url}]) as (run, http, _):
            await run.healthy(1)
            await made(run)
            await stack.aclose()
            names, body = await found(http, "csv")
            assert "csv_reader" in names
            assert body["mode"] == "text"
            assert body["note"]
            assert (await http.get(URL, params={"q": "csv", "mode": "meaning"})).status_code in (502, 503, 504)


async def test_the_command_and_the_sdk_find_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with searched(tmp_path) as (run, _http, ids):
        cli = CommandLine(capsys).at(run.url)
        told = (await cli("search", "csv", "--kind", "artifact", "--json")).json
        assert [one["id"] for one in told["results"]] == [ids["csv report.txt"]]
        assert told["mode"] == "text"
        result = await cli("search", "csv", "--mode", "text")
        assert {row["name"] for row in result.rows} >= {"csv_reader", "table_writer", "csv report.txt"}
        assert (await cli("search", "csv", "--mode", "meaning")).status == 1
        listed = (await cli("artifacts", "list", "--query", "report csv", "--json")).json
        assert [one["artifact_id"] for one in listed] == [ids["csv report.txt"]]
        async with AsyncClient(run.url) as client:
            hits = await client.search("csv report", kind="artifact")
            assert [(hit.kind, hit.name) for hit in hits] == [("artifact", "csv report.txt")]
            assert hits[0].thing["artifact_id"] == ids["csv report.txt"]
            with pytest.raises(Conflict):
                await client.search("csv", mode="meaning")


async def test_a_key_is_needed_where_keys_are(tmp_path: Path) -> None:
    viewer = {"name": "v", "key": "secret-of-viewer-0123456789abcdef", "role": "viewer"}
    config = {"auth": {"enabled": True, "allow_anonymous_loopback": False, "keys": [viewer]}}
    async with (
        running_service(config, tmp_path) as run,
        httpx2.AsyncClient(base_url=run.url, timeout=30, trust_env=False) as http,
    ):
        key = {"Authorization": f"Bearer {viewer['key']}"}
        assert (await http.get(URL, params={"q": "file"})).status_code == 401
        assert (await http.get(URL, params={"q": "file", "kind": "artifact"}, headers=key)).status_code == 200


@pytest.mark.parametrize("q", ['"', "a OR", "NEAR(", "\0", "'; --", "*", "a" * 1_000, "é " * 400, "💥"])
async def test_whatever_is_typed_is_an_answer(tmp_path: Path, q: str) -> None:
    async with searched(tmp_path) as (_, http, _ids):
        for path in (URL, "/tools/", "/artifacts/", "/api/v1/artifacts", "/api/v1/tools"):
            assert (await http.get(path, params={"q": q})).status_code == 200, path
        assert (await http.get(URL, params={"q": ""})).status_code == 400
        assert (await http.get("/tools/", params={"q": "a" * 1_001})).status_code in (400, 422)
