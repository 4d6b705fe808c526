"""Search by meaning with vectors of a real engine: llama.cpp serves a GGUF file."""

from __future__ import annotations

from pathlib import Path

import httpx2

from service import running_service


async def test_a_tool_is_found_by_the_vector_of_its_own_text(
    tmp_path: Path, gguf_file: Path, http: httpx2.AsyncClient
) -> None:
    config = {"models": {"embedded": [str(gguf_file)]}, "tools": {"embedding_model": "tiny"}}
    async with running_service(config, tmp_path) as running:
        await running.healthy(1)
        for name in ("alpha", "beta", "gamma"):
            body = {"name": name, "category": "C", "description": f"Does what {name} does"}
            assert (await http.post(f"{running.url}/tools/", json=body)).status_code == 200
        while await running.service.search_parts.meanings.work():
            pass
        asked = {"q": "beta\nDoes what beta does", "mode": "meaning", "kind": "tool", "limit": 100}
        found = (await http.get(f"{running.url}/api/v1/search", params=asked)).json()
        assert found["model"] == "tiny"
        assert found["results"][0]["name"] == "beta"
        assert found["results"][0]["score"] > 0.999
        assert {"alpha", "beta", "gamma"} <= {one["name"] for one in found["results"]}  # beside the built-in ones
