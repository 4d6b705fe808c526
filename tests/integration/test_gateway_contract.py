"""The fleet contract's checks of inference (contracts/fleet.md, section 6: 11-23, 25-30, 39), against fake nodes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fleet_under_test import ANTHROPIC, OLLAMA, OPENAI, PLANES, Wire, fleet, read_stream, request
from orchestrator.testing.model_server import ModelServer

every_plane = pytest.mark.parametrize("plane", PLANES)
TEXT = "one two three four"


@every_plane
async def test_11_generate_whole_resolves_latest(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        answer = await tried.client.post("/api/generate", json={"model": "demo", "prompt": TEXT, "stream": False})

        assert answer.status_code == 200
        assert answer.json()["response"] == f"echo: {TEXT}"
        assert answer.json()["done"] is True
        assert answer.headers["content-type"] == "application/json"


@every_plane
async def test_12_ollamas_routes_stream_unless_told_otherwise(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for path, body in (
            ("/api/generate", {"prompt": TEXT}),
            ("/api/chat", {"messages": [{"role": "user", "content": TEXT}]}),
        ):
            answer = await tried.client.post(path, json={"model": "demo", **body})
            lines = [json.loads(line) for line in answer.content.splitlines()]
            assert len(lines) > 3
            assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
            assert answer.headers["content-type"] == "application/x-ndjson"


@every_plane
async def test_12_the_legacy_default_is_a_setting(plane: str, tmp_path: Path) -> None:
    config = {"gateway": {"ollama_stream_default": False}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config) as tried:
        answer = await tried.client.post("/api/generate", json={"model": "demo", "prompt": TEXT})
        assert answer.json()["response"] == f"echo: {TEXT}"
        direct = await tried.client.post("/api/generate--a", json={"model": "demo", "prompt": TEXT})
        assert direct.json()["response"] == f"echo: {TEXT}"
        stream = await tried.client.post("/api/generate", json={"model": "demo", "prompt": TEXT, "stream": True})
        assert len(stream.content.splitlines()) > 3


@every_plane
@pytest.mark.parametrize(
    ("path", "kind", "content_type"),
    [
        ("/api/chat", "ollama", "application/x-ndjson"),
        ("/v1/chat/completions", "openai", "text/event-stream; charset=utf-8"),
        ("/v1/messages", "anthropic", "text/event-stream; charset=utf-8"),
    ],
)
async def test_13_a_relayed_stream_is_the_nodes_own_bytes(
    path: str, kind: str, content_type: str, plane: str, tmp_path: Path
) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": TEXT}], "stream": True, "max_tokens": 100}
    node = ModelServer(dialects=[kind])
    async with fleet(tmp_path, {"a": node}, kinds={"a": kind}, plane=plane) as tried:
        answer = await tried.client.post(path, json=body)

        assert answer.headers["content-type"] == content_type
        assert answer.headers["cache-control"] == "no-cache"
        sent = tried.received("a")[-1]
        assert json.loads(sent.raw or b"") == body
        # What the node sent, without its framing: all of it, and nothing else.
        assert sent.bytes_sent > len(answer.content)
        form = {"ollama": OLLAMA, "openai": OPENAI, "anthropic": ANTHROPIC}[kind]
        seen = read_stream(form, answer.content)
        assert (seen.text, seen.errors, seen.ended) == (f"echo: {TEXT}", [], 1)


@every_plane
async def test_14_what_is_missing_is_named(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for path, body in (
            ("/api/generate", {"prompt": "x"}),
            ("/api/chat", {"messages": [1]}),
            ("/api/embed", {"input": "x"}),
        ):
            answer = await tried.client.post(path, json=body)
            assert (answer.status_code, answer.json()["error"]) == (400, "model is required")
        answer = await tried.client.post("/api/generate", json={"model": "demo"})
        assert (answer.status_code, answer.json()["error"]) == (400, "prompt is required")
        assert not tried.inference("a")


@every_plane
async def test_15_load_and_unload_by_an_empty_prompt(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        node = tried.nodes["a"]
        loaded = await tried.client.post("/api/generate", json={"model": "demo", "prompt": ""})
        assert (loaded.status_code, loaded.json()["done_reason"]) == (200, "load")
        assert node.loaded == ["demo:latest"]
        gone = await tried.client.post("/api/generate", json={"model": "demo", "prompt": "", "keep_alive": 0})
        assert (gone.status_code, gone.json()["done_reason"]) == (200, "unload")
        assert node.loaded == []
        chat = await tried.client.post("/api/chat", json={"model": "demo", "messages": []})
        assert (chat.status_code, chat.json()["done"]) == (200, True)
        await tried.settled()


@every_plane
async def test_16_no_json_header_is_needed(plane: str, tmp_path: Path) -> None:
    body = json.dumps({"model": "demo", "prompt": TEXT, "stream": False}).encode()
    async with fleet(tmp_path, ["a"], plane=plane) as tried, Wire(tried.address) as wire:
        await wire.send(request("/api/generate", body, "Content-Type: application/x-www-form-urlencoded"))
        assert (await wire.answer())[0] == 200


@every_plane
async def test_17_an_unknown_model_is_a_404_that_names_it(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for form in (OPENAI, ANTHROPIC, OLLAMA):
            answer = await tried.post(form, model="nope")
            assert answer.status_code == 404
            assert "'nope'" in form.error(answer.json())
        assert (await tried.post(OPENAI, model="nope")).json()["error"]["code"] == "model_not_found"
        assert not tried.inference("a")


@every_plane
async def test_18_failover_is_told_in_headers_and_trace(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane) as tried:
        tried.nodes["a"].mode("status", status=500)
        for _ in range(3):
            answer = await tried.client.post(
                "/api/generate?debug=true", json={"model": "demo", "prompt": TEXT, "stream": False}
            )
            assert answer.status_code == 200
            debug = answer.json()["debug"]
            if debug["failoverOccurred"]:
                break
        assert debug["serversTried"] == ["a", "b"]
        assert debug["retryCount"] == debug["failoverCount"] == 1
        assert debug["selectedServerId"] == "b"
        assert debug["failoverErrors"][0]["serverId"] == "a"
        assert answer.headers["x-failover-occurred"] == "1"
        assert answer.headers["x-retry-count"] == "1"
        assert answer.headers["x-algorithm"] == "round_robin"
        plain = await tried.client.post("/api/generate", json={"model": "demo", "prompt": TEXT, "stream": False})
        assert "debug" not in plain.json()
        asked = await tried.client.post(
            "/api/generate",
            json={"model": "demo", "prompt": TEXT, "stream": False},
            headers={"X-Include-Debug-Info": "true"},
        )
        assert asked.json()["debug"]["requestId"] == asked.headers["x-request-id"]


@every_plane
async def test_18_the_trace_of_a_stream_comes_behind_its_end_and_breaks_nothing(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for form in (OPENAI, ANTHROPIC, OLLAMA):
            answer = await tried.client.post(form.path + "?debug=true", json=form.body(stream=True))
            assert answer.status_code == 200
            last = answer.content.strip().split(b"\n")[-1].removeprefix(b"data: ")
            assert json.loads(last)["debug"]["selectedServerId"] == "a"
            assert answer.headers["x-servers-tried"] == "a"


@every_plane
async def test_19_a_clients_error_is_one_call_and_no_cooldown(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane) as tried:
        for node in tried.nodes.values():
            node.mode("status", status=400, times=1)
        answers = [await tried.post(OLLAMA) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [400, 400]
        assert len(tried.inference("a")) == len(tried.inference("b")) == 1
        assert {(await tried.post(OLLAMA)).headers["x-selected-server"] for _ in range(4)} == {"a", "b"}


@every_plane
async def test_20_saturation_waits_then_tells(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane, max_concurrency=1, config={"queue": {"timeout": 0.5}}) as tried:
        for node in tried.nodes.values():
            node.mode("slow", ms=100)
        answers = await asyncio.gather(*(tried.post(OLLAMA) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {200}

        for node in tried.nodes.values():
            node.mode("hang")
        stuck = [asyncio.create_task(tried.post(OLLAMA)) for _ in range(2)]
        await tried.running.until(lambda: sum(node.hanging for node in tried.nodes.values()) == 2)
        full = await tried.post(OLLAMA)
        assert full.status_code == 503
        assert full.json()["error"].startswith("All servers at max concurrency")
        assert full.json()["model"] == "demo"
        assert int(full.headers["retry-after"]) >= 1
        for node in tried.nodes.values():
            node.release()
        await asyncio.gather(*stuck)


@every_plane
async def test_22_embeddings_in_every_form_fail_over(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane) as tried:
        for node in tried.nodes.values():
            node.set_models(["demo"])
        tried.nodes["a"].mode("status", status=503)
        for _ in range(3):
            one = await tried.client.post("/api/embeddings", json={"model": "demo", "prompt": TEXT})
            many = await tried.client.post("/api/embed", json={"model": "demo", "input": [TEXT, "five"]})
            openai = await tried.client.post("/v1/embeddings", json={"model": "demo", "input": [TEXT, "five"]})
            assert (one.status_code, many.status_code, openai.status_code) == (200, 200, 200)
            assert len(one.json()["embedding"]) == 64
            assert len(many.json()["embeddings"]) == len(openai.json()["data"]) == 2
        assert tried.inference("a")


@every_plane
@pytest.mark.parametrize(
    "path", ["/api/generate", "/api/chat", "/v1/chat/completions", "/v1/completions", "/v1/messages"]
)
async def test_25_a_direct_route_asks_one_node_and_answers_whole(path: str, plane: str, tmp_path: Path) -> None:
    field: dict[str, Any] = {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 50}
    if path.endswith(("generate", "/completions")) and "chat" not in path:
        field = {"prompt": TEXT}
    async with fleet(tmp_path, plane=plane) as tried:
        for stream in (None, True, False):
            body = {"model": "demo", **field} | ({} if stream is None else {"stream": stream})
            answer = await tried.client.post(f"{path}--a", json=body)
            assert answer.status_code == 200
            assert all(word in answer.text for word in ("echo", "four"))
            assert answer.headers["x-selected-server"] == "a"
        assert not tried.inference("b")
        assert len(tried.inference("a")) == 3
        gone = await tried.client.post(f"{path}--zz", json={"model": "demo", **field})
        unknown = await tried.client.post(f"{path}--a", json={"model": "nope", **field})
        assert (gone.status_code, unknown.status_code) == (404, 404)
        await tried.settled()


@every_plane
async def test_25_a_direct_route_does_not_fail_over(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane) as tried:
        tried.nodes["a"].mode("status", status=500)
        answer = await tried.client.post("/v1/chat/completions--a", json=OPENAI.body(stream=False))
        assert answer.status_code == 502
        assert not tried.inference("b")
        await tried.settled()


@every_plane
async def test_28_sampling_parameters_arrive_untouched(plane: str, tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "temperature": 0.25,
        "top_p": 0.5,
        "max_tokens": 17,
        "stop": ["a", "b"],
        "seed": 42,
        "n": 1,
        "user": "u",
        "logit_bias": {"50256": -100},
        "presence_penalty": 0.125,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "unheard_of": {"x": [1, 2.50, None]},
    }
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        text = json.dumps(OPENAI.body(stream=False, **more), indent=3)
        answer = await tried.client.post(OPENAI.path, content=text.encode())
        assert answer.status_code == 200
        assert tried.received("a")[-1].raw == text.encode()  # byte for byte


@every_plane
async def test_28_only_the_models_name_changes_for_an_alias(plane: str, tmp_path: Path) -> None:
    config = {"models": {"aliases": {"gpt-4o": ["demo"]}}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config) as tried:
        answer = await tried.client.post(OPENAI.path, json=OPENAI.body(stream=False, model="gpt-4o", seed=7, x=[1.50]))
        assert answer.status_code == 200
        got = tried.received("a")[-1].body
        assert got["model"] in ("demo", "demo:latest")
        assert {name: got[name] for name in ("seed", "x", "stream")} == {"seed": 7, "x": [1.5], "stream": False}


@every_plane
async def test_29_streams_of_both_openai_routes_end_with_done(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for path, field in ((OPENAI.path, "messages"), ("/v1/completions", "prompt")):
            content: Any = [{"role": "user", "content": TEXT}] if field == "messages" else TEXT
            for query in ("", "?debug=true"):
                answer = await tried.client.post(path + query, json={"model": "demo", field: content, "stream": True})
                events = [event for event in answer.content.split(b"\n\n") if event]
                assert events.count(b"data: [DONE]") == 1
                assert len(events) > 4


@every_plane
async def test_30_openais_errors(plane: str, tmp_path: Path) -> None:
    config = {"queue": {"enabled": False}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config, max_concurrency=1) as tried:
        missing = await tried.client.post(OPENAI.path, json={"model": "demo"})
        assert missing.status_code == 400
        assert missing.json()["error"]["type"] == "invalid_request_error"
        assert missing.json()["error"]["code"] == "missing_required_parameter"
        assert missing.json()["error"]["param"] == "messages"
        tried.nodes["a"].mode("hang", times=1)
        stuck = asyncio.create_task(tried.post(OPENAI))
        await tried.nodes["a"].wait_for(lambda node: node.hanging == 1)
        full = await tried.post(OPENAI)
        assert (full.status_code, full.json()["error"]["type"]) == (503, "capacity_error")
        assert full.json()["error"]["code"] == "service_unavailable"
        tried.nodes["a"].release()
        assert (await stuck).status_code == 200


@every_plane
async def test_39_a_stall_ends_in_an_error_line_or_goes_on_elsewhere(plane: str, tmp_path: Path) -> None:
    config = {"streaming": {"stall_threshold": 0.3}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config) as tried:
        tried.nodes["a"].mode("hang_mid", after=3, tokens_per_second=400.0)
        seen = await tried.stream(OLLAMA)
        assert seen.broken
        assert seen.text == "echo: one two"
        await tried.nodes["a"].wait_for(lambda node: node.disconnects == 1 and not node.in_flight, timeout=1)
        await tried.settled(1.0)
