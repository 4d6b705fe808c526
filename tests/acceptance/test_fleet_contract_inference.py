"""The fleet contract's checks 9 to 17 and 22 to 25: Ollama's dialect over the fleet, and one server chosen by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fleet_contract import LLAMA, NOMIC, contract_fleet, has


async def test_check_09_tags_merge(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet, httpx2.AsyncClient(trust_env=False) as direct:
        upstream = {row["name"]: row for row in (await direct.get(f"{fleet.a.url}/api/tags")).json()["models"]}

        rows = (await fleet.get("/api/tags"))["models"]

        assert [row["name"] for row in rows] == [LLAMA, NOMIC]
        for row in rows:
            assert row.pop("servers") == ["a", "b"]
            told = upstream[row["name"]]
            assert {name: row[name] for name in told if name != "modified_at"} == {
                name: value for name, value in told.items() if name != "modified_at"
            }
            assert "modified_at" in row


async def test_check_10_ps_merge(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for name in "ab":
            assert (await fleet.generate(f"/api/generate--{name}")).status_code == 200

        rows = (await fleet.get("/api/ps"))["models"]

        assert {(row["server"], row["name"]) for row in rows} == {("a", LLAMA), ("b", LLAMA)}
        for row in rows:
            has(row, "name model size digest details expires_at size_vram server")


async def test_check_11_generate_non_stream(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        answer = await fleet.generate(prompt="one two", stream=False)

        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        has(answer.json(), "model created_at response done done_reason total_duration load_duration eval_count context")
        assert (answer.json()["response"], answer.json()["done"]) == ("echo: one two", True)
        (sent,) = [one.body for one in fleet.a.requests if one.path == "/api/generate"]
        assert (sent["prompt"], sent["stream"]) == ("one two", False)
        assert (await fleet.get("/api/ps"))["models"][0]["name"] == LLAMA


async def test_check_12_generate_streams_by_default(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        answer = await fleet.generate(stream=None)

        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert len(lines) > 1
        assert "".join(line["response"] for line in lines) == "echo: hi"
        assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]


async def test_check_12_a_switch_keeps_the_old_default(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a", gateway={"ollama_stream_default": False}) as fleet:
        answer = await fleet.generate(stream=None)

        assert answer.json()["response"] == "echo: hi"
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_check_13_stream_relay(tmp_path: Path, path: str) -> None:
    body = {"model": LLAMA, "prompt": "say 9 words", "messages": [{"role": "user", "content": "say 9 words"}]}
    body = {name: body[name] for name in ("model", "prompt" if path.endswith("generate") else "messages")}
    async with contract_fleet(tmp_path, "a") as fleet, httpx2.AsyncClient(trust_env=False) as direct:
        own = await direct.post(fleet.a.url + path, json={**body, "stream": True})
        relayed = await fleet.call("POST", path, {**body, "stream": True})

        assert relayed.headers["content-type"] == own.headers["content-type"] == "application/x-ndjson"
        assert relayed.content.endswith(b"\n")
        # The same server, asked twice, differs in the time of day alone.
        assert [_timeless(line) for line in relayed.text.splitlines()] == [
            _timeless(line) for line in own.text.splitlines()
        ]
        assert json.loads(relayed.text.splitlines()[-1])["done"] is True


def _timeless(line: str) -> str:
    return line.replace(json.loads(line)["created_at"], "")


async def test_check_14_missing_model_and_prompt(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        for path, body, said in (
            ("/api/generate", {"prompt": "hi"}, "model is required"),
            ("/api/chat", {"messages": [{"role": "user", "content": "hi"}]}, "model is required"),
            ("/api/generate", {"model": "llama3"}, "prompt is required"),
            ("/api/chat", {"model": "llama3"}, "messages is required"),
        ):
            answer = await fleet.call("POST", path, body)
            assert (answer.status_code, answer.json()["error"]) == (400, said), path
        assert not fleet.asked()


async def test_check_15_load_and_unload(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        assert (await fleet.generate(prompt="", keep_alive=300)).json()["done_reason"] == "load"
        assert fleet.a.loaded == [LLAMA]
        assert (await fleet.generate(prompt="", keep_alive=0)).json()["done_reason"] == "unload"
        assert fleet.a.loaded == []


async def test_check_16_no_json_header(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        body = json.dumps({"model": "llama3", "prompt": "hi", "stream": False}).encode()
        for kind in ("application/x-www-form-urlencoded", "text/plain"):  # the first is curl's
            answer = await fleet.client.post("/api/generate", content=body, headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["response"]) == (200, "echo: hi")


async def test_check_17_unknown_model(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for path in ("/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/api/show"):
            body = {"prompt": "x", "input": "x", "messages": [{"role": "user", "content": "x"}]}
            answer = await fleet.call("POST", path, {"model": "nope", **body})
            assert answer.status_code == 404, path
            assert "nope" in answer.json()["error"]


async def test_check_22_embeddings_and_embed(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, retry={"budget_min_per_second": 1000}) as fleet:
        one = await fleet.post("/api/embeddings", {"model": "nomic-embed-text", "prompt": "text"})
        many = await fleet.post("/api/embed", {"model": "nomic-embed-text", "input": ["text", "other"]})
        assert len(one["embedding"]) == 64
        assert [len(vector) for vector in many["embeddings"]] == [64, 64]
        assert one["embedding"] == many["embeddings"][0]

        fleet.a.mode("status", status=500)
        for _ in range(4):  # whoever is asked first
            again = await fleet.post("/api/embed", {"model": "nomic-embed-text", "input": "text"})
            assert again["embeddings"][0] == one["embedding"]


async def test_check_23_show(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for field in ("model", "name"):
            shown = await fleet.post("/api/show", {field: "llama3"})
            has(shown, "modelfile template details model_info capabilities", field)


ROOT = [
    ("POST", "pull"),
    ("POST", "push"),
    ("POST", "create"),
    ("POST", "copy"),
    ("DELETE", "delete"),
    ("POST", "blobs/sha256:00"),
    ("HEAD", "blobs/sha256:00"),
]


async def test_check_24_root_library_routes_are_refused(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for method, path in ROOT:
            answer = await fleet.call(method, f"/api/{path}", {"model": "llama3"})
            assert answer.status_code == 400, path
            assert method == "HEAD" or "models.pull_enabled" in answer.json()["error"]
        for server in fleet.servers.values():
            assert not [one for one in server.requests if one.path.split("/")[2] in {path for _, path in ROOT}]


async def test_check_24_an_option_lets_them_through_to_a_named_server(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, models={"pull_enabled": True}) as fleet:
        answer = await fleet.call("POST", "/api/pull?server=b", {"model": "phi", "stream": False})

        assert (answer.status_code, answer.json()["status"]) == (200, "success")
        assert fleet.asked("/api/pull") == ["b"]


async def test_check_25_direct_route(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hi"}]
    bodies: dict[str, dict[str, Any]] = {
        "/api/generate": {"prompt": "hi"},
        "/api/chat": {"messages": messages},
        "/api/embeddings": {"prompt": "hi"},
        "/v1/chat/completions": {"messages": messages},
        "/v1/completions": {"prompt": "hi"},
        "/v1/embeddings": {"input": "hi"},
    }
    async with contract_fleet(tmp_path) as fleet:
        for path, body in bodies.items():
            for _ in range(3):
                answer = await fleet.call("POST", f"{path}--a", {"model": "llama3", **body})
                assert answer.status_code == 200, (path, answer.text)
            assert fleet.asked(path) == ["a"] * 3
            unknown = await fleet.call("POST", f"{path}--zz", {"model": "llama3", **body})
            assert unknown.status_code == 404, path
            assert "zz" in unknown.text

        lines = [json.loads(line) for line in (await fleet.generate("/api/generate--a", stream=None)).text.splitlines()]
        assert "".join(line["response"] for line in lines) == "echo: hi"  # whole, not the first line alone
        assert lines[-1]["done"] is True
