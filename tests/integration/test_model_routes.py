"""The lists of models and Ollama's routes beside inference, as clients of all three dialects use them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import ollama
import openai
import pytest

from orchestrator.domain.access import Permission, Principal, Role
from orchestrator.domain.ban import Ban
from orchestrator.domain.breaker_policy import BreakerState
from orchestrator.testing.model_server import Model, ModelServer
from service import RunningService, free_port, running_service

ADMIN = ("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/blobs/sha256:" + "0" * 64)


def fleet(*servers: tuple[str, str, ModelServer], **more: Any) -> dict[str, Any]:
    return {"nodes": [{"id": name, "url": one.url, "kind": kind} for name, kind, one in servers], **more}


@pytest.fixture
async def a() -> AsyncIterator[ModelServer]:
    async with ModelServer(["llama3", Model("nomic-embed-text", capabilities=("embedding",))]) as server:
        yield server


@pytest.fixture
async def b() -> AsyncIterator[ModelServer]:
    async with ModelServer(["llama3", "qwen3:8b"], version="0.99.1") as server:
        yield server


@pytest.fixture
async def hosted() -> AsyncIterator[ModelServer]:
    async with ModelServer(["gpt-x"], dialects=["openai"]) as server:
        yield server


@pytest.fixture
async def running(a: ModelServer, b: ModelServer, hosted: ModelServer, tmp_path: Path) -> AsyncIterator[RunningService]:
    config = fleet(
        ("a", "ollama", a), ("b", "ollama", b), ("h", "openai", hosted), models={"aliases": {"best": ["qwen3:8b"]}}
    )
    async with running_service(config, tmp_path) as service:
        yield service


async def names(http: httpx2.AsyncClient, url: str) -> list[str]:
    return [row["name"] for row in (await http.get(f"{url}/api/tags")).json()["models"]]


# Lists


async def test_tags_have_one_row_a_model_with_its_servers(running: RunningService, http: httpx2.AsyncClient) -> None:
    rows = {row["name"]: row for row in (await http.get(f"{running.url}/api/tags")).json()["models"]}

    assert set(rows) == {"best", "gpt-x", "llama3:latest", "nomic-embed-text:latest", "qwen3:8b"}
    assert rows["llama3:latest"]["servers"] == ["a", "b"]
    assert rows["llama3:latest"]["digest"] == hashlib.sha256(b"llama3").hexdigest()
    assert rows["llama3:latest"]["details"]["family"] == "llama"
    assert rows["best"]["servers"] == ["b"]


async def test_models_have_openais_form(running: RunningService, http: httpx2.AsyncClient) -> None:
    body = (await http.get(f"{running.url}/v1/models")).json()

    assert body["object"] == "list"
    rows = {row["id"]: row for row in body["data"]}
    assert rows["llama3:latest"]["object"] == "model"
    assert rows["llama3:latest"]["owned_by"] == "a"
    assert isinstance(rows["gpt-x"]["created"], int)
    assert rows["gpt-x"]["created"] < 10_000_000_000


@pytest.mark.parametrize("asked", ["llama3", "llama3:latest", "llama3%3Alatest"])
async def test_one_model_by_any_of_its_names(asked: str, running: RunningService, http: httpx2.AsyncClient) -> None:
    assert (await http.get(f"{running.url}/v1/models/{asked}")).json()["id"] == "llama3:latest"


async def test_an_unknown_model_is_openais_404(running: RunningService, http: httpx2.AsyncClient) -> None:
    answer = await http.get(f"{running.url}/v1/models/no/such")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["type"], error["param"]) == ("model_not_found", "invalid_request_error", "model")


async def test_a_model_that_no_node_may_serve_is_not_listed(running: RunningService, http: httpx2.AsyncClient) -> None:
    registry = running.service.registry
    await registry.ban(Ban("b", "qwen3:8b"))
    await registry.force("h", "gpt-x", BreakerState.OPEN)
    assert await names(http, running.url) == ["llama3:latest", "nomic-embed-text:latest"]


async def test_a_dead_node_takes_its_models_off_the_list(
    running: RunningService, b: ModelServer, http: httpx2.AsyncClient
) -> None:
    await b.kill()
    await running.until(lambda: not running.service.fleet.nodes["b"].healthy)
    rows = {row["name"]: row["servers"] for row in (await http.get(f"{running.url}/api/tags")).json()["models"]}
    assert rows == {"gpt-x": ["h"], "llama3:latest": ["a"], "nomic-embed-text:latest": ["a"]}


async def test_a_key_sees_only_the_models_that_it_may_use(
    a: ModelServer, b: ModelServer, tmp_path: Path, http: httpx2.AsyncClient
) -> None:
    config = fleet(("a", "ollama", a), ("b", "ollama", b), auth={"enabled": True})
    async with running_service(config, tmp_path) as running:
        app = Principal(
            "k",
            "app",
            Role.DEVELOPER,
            models=frozenset({"llama3"}),
            scopes=frozenset({Permission.INFERENCE_USE}),
        )
        viewer = Principal("v", "viewer", Role.VIEWER)
        other = Principal("o", "queue only", Role.OPERATOR, scopes=frozenset({Permission.QUEUE_READ}))
        running.service.keyring.configure([("app-key", app), ("viewer-key", viewer), ("other-key", other)])

        async def ask(key: str, path: str, **body: Any) -> httpx2.Response:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            method = "POST" if body else "GET"
            return await http.request(method, running.url + path, headers=headers, json=body or None)

        assert [row["name"] for row in (await ask("app-key", "/api/tags")).json()["models"]] == ["llama3:latest"]
        assert [row["id"] for row in (await ask("app-key", "/v1/models")).json()["data"]] == ["llama3:latest"]
        assert (await ask("app-key", "/v1/models/qwen3:8b")).status_code == 404
        assert (await ask("app-key", "/api/show", model="llama3")).status_code == 200
        assert (await ask("app-key", "/api/show", model="qwen3:8b")).status_code == 403
        assert len((await ask("viewer-key", "/api/tags")).json()["models"]) == 3
        assert (await ask("other-key", "/api/tags")).status_code == 403
        assert (await ask("", "/api/tags")).status_code == 401
        assert (await ask("", "/v1/models")).status_code == 401
        assert (await ask("", "/")).status_code == 200


# What is in memory, details, version


async def test_ps_tells_which_server_holds_a_model(running: RunningService, http: httpx2.AsyncClient) -> None:
    assert (await http.get(f"{running.url}/api/ps")).json() == {"models": []}
    await http.post(f"{running.url}/api/generate--b", json={"model": "qwen3:8b", "prompt": "x", "stream": False})
    [row] = (await http.get(f"{running.url}/api/ps")).json()["models"]
    assert (row["name"], row["server"]) == ("qwen3:8b", "b")
    assert row["size_vram"] > 0


async def test_a_node_that_hangs_holds_ps_for_two_seconds_and_tags_not_at_all(
    running: RunningService, a: ModelServer, b: ModelServer, http: httpx2.AsyncClient
) -> None:
    await http.post(f"{running.url}/api/generate--b", json={"model": "llama3:latest", "prompt": "", "stream": False})
    a.mode("hang", path="/api/ps")
    rows = (await http.get(f"{running.url}/api/ps", timeout=4)).json()["models"]
    assert [row["server"] for row in rows] == ["b"]
    b.mode("hang", routes="health")
    assert "llama3:latest" in [
        row["name"] for row in (await http.get(f"{running.url}/api/tags", timeout=1)).json()["models"]
    ]


@pytest.mark.parametrize("field", ["model", "name"])
async def test_show_asks_a_node_that_has_the_model(
    field: str, running: RunningService, b: ModelServer, http: httpx2.AsyncClient
) -> None:
    answer = await http.post(f"{running.url}/api/show", json={field: "best"})
    assert answer.status_code == 200
    assert "completion" in answer.json()["capabilities"]
    assert b.requests[-1].body == {"model": "qwen3:8b"}


async def test_show_without_a_json_header(running: RunningService, http: httpx2.AsyncClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await http.post(f"{running.url}/api/show", content=b'{"model": "llama3"}', headers=headers)
    assert answer.status_code == 200


async def test_show_goes_on_to_the_next_node_when_one_fails(
    running: RunningService, a: ModelServer, b: ModelServer, http: httpx2.AsyncClient
) -> None:
    for server in (a, b):
        server.mode("reset", path="/api/show")
    assert (await http.post(f"{running.url}/api/show", json={"model": "llama3"})).status_code == 502
    b.mode("ok", path="/api/show")
    assert (await http.post(f"{running.url}/api/show", json={"model": "llama3"})).status_code == 200


async def test_show_makes_nothing_up_for_a_server_that_is_no_ollama(
    running: RunningService, http: httpx2.AsyncClient
) -> None:
    body = (await http.post(f"{running.url}/api/show", json={"model": "gpt-x"})).json()
    assert "not an Ollama model" in body["modelfile"]
    assert body["details"]["family"] == ""
    assert "capabilities" not in body


@pytest.mark.parametrize(
    ("content", "status"),
    [(b'{"model": "nope"}', 404), (b"{}", 400), (b'{"model": 5}', 400), (b"[]", 400), (b"{", 400), (b"[" * 9000, 400)],
)
async def test_show_refuses_what_it_cannot_answer(
    content: bytes, status: int, running: RunningService, http: httpx2.AsyncClient
) -> None:
    answer = await http.post(f"{running.url}/api/show", content=content)
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)


async def test_version_is_that_of_the_newest_ollama(running: RunningService, http: httpx2.AsyncClient) -> None:
    body = (await http.get(f"{running.url}/api/version")).json()
    assert body["version"] == "0.99.1"
    assert body["orchestrator"]


async def test_version_satisfies_clients_without_any_ollama(tmp_path: Path, http: httpx2.AsyncClient) -> None:
    async with running_service({}, tmp_path) as running:
        version = (await http.get(f"{running.url}/api/version")).json()["version"]
    assert tuple(map(int, version.split("."))) >= (0, 12)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_root_answers_as_ollama_does(method: str, running: RunningService, http: httpx2.AsyncClient) -> None:
    answer = await http.request(method, f"{running.url}/")
    assert answer.status_code == 200
    assert answer.text == ("Ollama is running" if method == "GET" else "")


async def test_the_root_is_a_json_banner_for_the_registrys_clients(tmp_path: Path, http: httpx2.AsyncClient) -> None:
    port = free_port()
    listeners = [{"port": port, "dialect": "registry"}]
    async with running_service({"server": {"listeners": listeners}}, tmp_path) as running:
        banner = await http.get(f"http://127.0.0.1:{port}/")
        assert banner.headers["content-type"] == "application/json"
        assert (banner.json()["health"], banner.json()["docs"]) == ("/health", "/docs")
        assert (await http.get(running.url)).text == "Ollama is running"
        assert (await http.get(running.url, headers={"Accept": "application/json"})).json() == banner.json()
        anything = {"Accept": "application/json, text/plain, */*"}
        assert (await http.get(running.url, headers=anything)).text == "Ollama is running"


# The library on a node's disk


async def test_the_library_is_closed_by_default(running: RunningService, http: httpx2.AsyncClient) -> None:
    answers = [await http.post(running.url + path, json={"model": "x"}) for path in ADMIN]
    answers.append(await http.request("DELETE", f"{running.url}/api/delete", json={"model": "llama3"}))
    answers.append(await http.head(running.url + ADMIN[-1]))
    assert [answer.status_code for answer in answers] == [400] * 7
    assert all("several servers" in answer.json()["error"] for answer in answers[:-1])


async def test_an_opened_library_acts_on_the_server_that_is_named(
    a: ModelServer, b: ModelServer, tmp_path: Path, http: httpx2.AsyncClient
) -> None:
    config = fleet(("a", "ollama", a), ("b", "ollama", b), models={"pull_enabled": True})
    async with running_service(config, tmp_path) as running:
        assert (await http.post(f"{running.url}/api/push", json={"model": "x"})).status_code == 400
        assert (await http.post(f"{running.url}/api/pull?server=zz", json={"model": "x"})).status_code == 404

        pulled = await http.post(f"{running.url}/api/pull?server=b", json={"model": "new"})
        lines = pulled.text.splitlines()
        assert pulled.headers["content-type"].startswith("application/x-ndjson")
        assert len(lines) > 2
        assert "success" in lines[-1]
        await running.until(lambda: "new:latest" in running.service.fleet.catalogue.names())
        assert running.service.fleet.catalogue.by_model()["new:latest"] == ["b"]

        blob = b"weights"
        path = f"{running.url}/api/blobs/sha256:{hashlib.sha256(blob).hexdigest()}"
        named = {"X-Server-Id": "a"}
        assert (await http.head(path, headers=named)).status_code == 404
        assert (await http.post(path, headers=named, content=blob)).status_code == 201
        assert (await http.head(path, headers=named)).status_code == 200

        split = f"{running.url}/api/blobs/x%20HTTP%0D%0AX-Smuggled:%201"
        assert (await http.post(split, headers=named, content=blob)).status_code == 400

        gone = await http.request("DELETE", f"{running.url}/api/delete", headers=named, json={"model": "llama3"})
        assert gone.status_code == 200
        await running.until(lambda: running.service.fleet.catalogue.by_model()["llama3:latest"] == ["b"])


async def test_a_push_that_breaks_off_does_not_end_cleanly(
    a: ModelServer, tmp_path: Path, http: httpx2.AsyncClient
) -> None:
    config = fleet(("a", "ollama", a), models={"pull_enabled": True})
    async with running_service(config, tmp_path) as running:
        a.mode("cut", after=2, path="/api/push")
        with pytest.raises(httpx2.RemoteProtocolError):
            await http.post(f"{running.url}/api/push?server=a", json={"model": "llama3"})


# Real clients


async def test_ollamas_own_client_lists_and_shows(running: RunningService) -> None:
    async with ollama.AsyncClient(host=running.url) as client:
        assert {one.model for one in (await client.list()).models} >= {"llama3:latest", "gpt-x", "best"}
        assert (await client.ps()).models == []
        assert (await client.show("llama3")).capabilities
        assert (await client.show("gpt-x")).modelinfo == {}
        with pytest.raises(ollama.ResponseError) as refused:
            await client.pull("llama3")
        assert refused.value.status_code == 400


async def test_openais_own_client_lists(running: RunningService) -> None:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="any") as client:
        assert "qwen3:8b" in [model.id async for model in await client.models.list()]
        assert (await client.models.retrieve("gpt-x")).owned_by == "h"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nope")


async def test_anthropics_own_client_pages_through_the_list(running: RunningService) -> None:
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key="any") as client:
        ids = [model.id async for model in client.models.list(limit=2)]
        assert ids == ["best", "gpt-x", "llama3:latest", "nomic-embed-text:latest", "qwen3:8b"]
        last = await client.models.list(limit=2, before_id="qwen3:8b")
        assert [model.id for model in last.data] == ["llama3:latest", "nomic-embed-text:latest"]
        assert last.has_more
        assert (await client.models.retrieve("llama3")).id == "llama3:latest"
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("nope")
