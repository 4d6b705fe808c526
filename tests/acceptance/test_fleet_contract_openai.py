"""The fleet contract's checks 27 to 30: OpenAI's dialect."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fleet_contract import LLAMA, NOMIC, contract_fleet

MESSAGES = [{"role": "user", "content": "one two"}]
CHAT = {"model": "llama3", "messages": MESSAGES}


async def test_check_27_v1_models(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        listed = await fleet.get("/v1/models")

        assert listed["object"] == "list"
        assert [row["id"] for row in listed["data"]] == [LLAMA, NOMIC]
        for row in listed["data"]:
            assert row["object"] == "model"
            assert isinstance(row["created"], int)
            assert 0 <= row["created"] < 10_000_000_000  # seconds, not milliseconds
            assert row["owned_by"] == "a"
        assert await fleet.get(f"/v1/models/{LLAMA}") == listed["data"][0]
        unknown = await fleet.call("GET", "/v1/models/nope")
        assert unknown.status_code == 404
        error = unknown.json()["error"]
        assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "model", "model_not_found")


async def test_check_28_chat_parameters(tmp_path: Path) -> None:
    function = {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
    parameters: dict[str, Any] = {
        "temperature": 0.25,
        "top_p": 0.5,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "seed": 7,
        "max_tokens": 11,
        "stop": ["END"],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "n": 1,
        "user": "somebody",
        "logprobs": False,
    }
    async with contract_fleet(tmp_path, "a") as fleet:
        await fleet.post("/v1/chat/completions", {**CHAT, **parameters})

        sent = fleet.a.requests[-1]
        assert sent.path == "/v1/chat/completions"
        assert {name: sent.body.get(name) for name in parameters} == parameters
        assert sent.body["messages"] == MESSAGES
        assert "options" not in sent.body

        await fleet.call(
            "POST", "/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
        )
        assert fleet.a.requests[-1].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("query", ["", "?debug=true"])
async def test_check_29_v1_stream(tmp_path: Path, query: str) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for path, body in (("chat/completions", {"messages": MESSAGES}), ("completions", {"prompt": "one two"})):
            answer = await fleet.call("POST", f"/v1/{path}{query}", {"model": "llama3", "stream": True, **body})

            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
            end = events.index("[DONE]")
            chunks = [json.loads(event) for event in events[:end]]
            choices = [choice for chunk in chunks for choice in chunk["choices"]]
            text = "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)
            assert text == "echo: one two"
            behind = [json.loads(event) for event in events[end + 1 :]]
            assert [list(event) for event in behind] == ([["debug"]] if query else [])
            assert (await fleet.get("/health"))["status"] == "ok"  # and lives


async def test_check_30_wrong_requests(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        absent = await fleet.call("POST", "/v1/chat/completions", {"model": "llama3"})
        assert absent.status_code == 400
        error = absent.json()["error"]
        assert (error["type"], error["param"], error["code"]) == (
            "invalid_request_error",
            "messages",
            "missing_required_parameter",
        )
        assert "messages" in error["message"]

        unknown = await fleet.call("POST", "/v1/chat/completions", {"model": "nope", "messages": MESSAGES})
        assert unknown.status_code == 404
        error = unknown.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "model_not_found")
        assert "nope" in error["message"]


async def test_check_30_a_full_fleet(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a", max_concurrency=1, queue={"enabled": False}) as fleet:
        fleet.a.mode("hang", times=1)
        occupant: asyncio.Task[httpx2.Response] = asyncio.create_task(fleet.call("POST", "/v1/chat/completions", CHAT))
        await fleet.a.wait_for(lambda server: server.hanging == 1)

        full = await fleet.call("POST", "/v1/chat/completions", CHAT)

        assert full.status_code == 503
        assert int(full.headers["retry-after"]) >= 1
        error = full.json()["error"]
        assert error["type"] == "capacity_error"
        fleet.a.release()
        assert (await occupant).status_code == 200
