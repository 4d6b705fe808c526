"""Models in memory as Ollama keeps them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from orchestrator.testing.model_server import Model, ModelServer

GB = 1_000_000_000
THREE = (Model("a", size=4 * GB), Model("b", size=4 * GB), Model("c", size=4 * GB))


async def generate(client: httpx2.AsyncClient, model: str, **extra: Any) -> dict[str, Any]:
    answer = await client.post("/api/generate", json={"model": model, "prompt": "x", "stream": False, **extra})
    assert answer.status_code == 200
    loaded: dict[str, Any] = answer.json()
    return loaded


async def test_least_recently_used_is_evicted() -> None:
    async with ModelServer(THREE, vram=8 * GB) as server, httpx2.AsyncClient(base_url=server.url) as client:
        for name in ("a", "b", "a", "c"):
            await generate(client, name)

        names = [model["name"] for model in (await client.get("/api/ps")).json()["models"]]
        assert names == ["c:latest", "a:latest"] == server.loaded
        assert (server.state()["loads"], server.state()["evictions"]) == (3, 1)


async def test_a_busy_model_is_not_evicted_and_the_load_waits() -> None:
    async with ModelServer(THREE, vram=4 * GB) as server, httpx2.AsyncClient(base_url=server.url) as client:
        server.mode("hang_mid", model="a", after=0)
        first = asyncio.create_task(generate(client, "a"))
        await server.wait_for(lambda seen: seen.hanging == 1)
        second = asyncio.create_task(generate(client, "b"))
        await server.wait_for(lambda seen: seen.in_flight == 2)
        assert server.loaded == ["a:latest"]

        server.release()
        await asyncio.gather(first, second)

        assert server.loaded == ["b:latest"]


async def test_a_model_larger_than_the_memory_is_loaded_in_part() -> None:
    async with ModelServer(THREE, vram=GB) as server, httpx2.AsyncClient(base_url=server.url) as client:
        await generate(client, "a")

        (model,) = (await client.get("/api/ps")).json()["models"]
        assert (model["size"], model["size_vram"]) == (4 * GB, GB)


async def test_requests_share_one_load_and_see_its_time() -> None:
    async with ModelServer(["a"], load_delay_ms=400) as server, httpx2.AsyncClient(base_url=server.url) as client:
        answers = await asyncio.gather(*(generate(client, "a") for _ in range(5)))
        later = await generate(client, "a")

        assert server.state()["loads"] == 1
        # Each its own: the first one all of it, one that came later what was left by then.
        assert max(answer["load_duration"] for answer in answers) >= 400_000_000
        assert min(answer["load_duration"] for answer in answers) >= 100_000_000
        assert later["load_duration"] == 0


async def test_a_client_that_leaves_during_the_load_does_not_spoil_it() -> None:
    async with ModelServer(["a"], load_delay_ms=60) as server, httpx2.AsyncClient(base_url=server.url) as client:
        leaving = asyncio.create_task(generate(client, "a"))
        await server.wait_for(lambda seen: seen.in_flight == 1)
        staying = asyncio.create_task(generate(client, "a"))
        await server.wait_for(lambda seen: seen.in_flight == 2)
        leaving.cancel()

        assert (await staying)["response"] == "echo: x"
        await server.wait_for(lambda seen: seen.in_flight == 0)


async def test_load_and_unload_by_an_empty_prompt(server: ModelServer, client: httpx2.AsyncClient) -> None:
    loaded = await client.post("/api/generate", json={"model": "demo"})
    assert server.loaded == ["demo:latest"]
    unloaded = await client.post("/api/chat", json={"model": "demo", "messages": [], "keep_alive": 0})

    assert (loaded.json()["done_reason"], unloaded.json()["done_reason"]) == ("load", "unload")
    assert server.loaded == []
    assert server.state()["loads"] == 1


async def test_keep_alive(server: ModelServer, client: httpx2.AsyncClient) -> None:
    await generate(client, "demo", keep_alive=0)
    assert server.loaded == []
    await generate(client, "demo", keep_alive=-1)
    (resident,) = (await client.get("/api/ps")).json()["models"]
    assert resident["expires_at"] == "2318-01-01T00:00:00Z"
    await generate(client, "demo", keep_alive="1h30m")
    assert server.loaded == ["demo:latest"]
    await generate(client, "demo", keep_alive="20ms")
    await server.wait_for(lambda seen: not seen.loaded)


async def test_lists_and_health_load_nothing(server: ModelServer, client: httpx2.AsyncClient) -> None:
    for path in ("/", "/api/version", "/api/tags", "/api/ps", "/v1/models", "/v1/models/demo"):
        assert (await client.get(path)).status_code == 200
    await client.post("/api/show", json={"model": "demo"})
    await client.post(
        "/v1/messages/count_tokens", json={"model": "demo", "messages": [{"role": "user", "content": "x"}]}
    )

    assert server.state()["loads"] == 0
