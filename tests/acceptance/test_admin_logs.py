"""Logs over the API: filters, clearing, and the live tail."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from admin_api import ADMIN, admin
from cli_command import CommandLine

LOG = logging.getLogger("orchestrator.test")
DEBUG = {"logging": {"level": "debug", "keep": 50}}


class Tail:
    """A stream of logs as a client reads it."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def event(self) -> tuple[str, str, dict[str, Any]]:
        """The next event: id, name and data."""
        found: dict[str, str] = {}
        async with asyncio.timeout(10):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if line:
                    found[name] = value
                elif "event" in found:
                    return found.get("id", ""), found["event"], json.loads(found["data"])
                else:
                    found = {}
        raise AssertionError("the stream ended")


@asynccontextmanager
async def tail(api: httpx2.AsyncClient, headers: dict[str, str] | None = None, **query: Any) -> AsyncIterator[Tail]:
    async with api.stream("GET", "/logs/stream", params=query, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert await anext(lines) == ": open"
        yield Tail(lines)


async def test_the_latest_come_first_with_the_contracts_fields(tmp_path: Path) -> None:
    async with admin(tmp_path, **DEBUG) as (_, api):
        LOG.warning("disk_low", extra={"free": 5, "api_key": "abcdefghijkl", "ratio": float("nan")})
        answer = (await api.get("/logs", params={"search": "disk_low"})).json()
        assert (answer["success"], answer["count"], answer["total"]) == (True, 1, 1)
        (entry,) = answer["logs"]
        assert (entry["level"], entry["message"], entry["logger"]) == ("warn", "disk_low", "orchestrator.test")
        assert entry["timestamp"].endswith("Z")
        assert entry["meta"] == {"free": 5, "api_key": "***", "ratio": "nan"}
        LOG.error("later")
        assert (await api.get("/logs", params={"limit": 1})).json()["logs"][0]["message"] == "later"


async def test_filters(tmp_path: Path) -> None:
    async with admin(tmp_path, **DEBUG) as (_, api):

        async def found(**query: Any) -> list[str]:
            answer = await api.get("/logs", params={"search": "mark", **query})
            return [one["message"] for one in answer.json()["logs"]]

        LOG.debug("mark 1")
        LOG.info("mark 2")
        between = time.time()
        LOG.warning("mark 3")
        LOG.error("other", extra={"deep": {"er": "MARK 4"}})
        assert await found() == ["other", "mark 3", "mark 2", "mark 1"]
        assert await found(level="warn") == await found(level="WARNING") == ["other", "mark 3"]
        assert await found(level="error") == ["other"]
        assert await found(since=str(int(between * 1000) + 1)) in (["other", "mark 3"], ["other"], [])
        assert await found(since=str(int(between * 1000) - 60_000)) == await found(since="2020-01-01T00:00:00Z")
        assert await found(since="2999-01-01T00:00:00+02:00") == []
        assert await found(limit=2, offset=1) == ["mark 3", "mark 2"]


@pytest.mark.parametrize(
    "query",
    [
        {"level": "loud"},
        {"since": "yesterday"},
        {"limit": 0},
        {"limit": "x"},
        {"offset": -1},
        {"offset": 2**63},
        {"since": "9" * 400},
    ],
)
async def test_wrong_filters_are_400(tmp_path: Path, query: dict[str, Any]) -> None:
    async with admin(tmp_path) as (_, api):
        for path in ("/logs",) if "limit" in query or "offset" in query else ("/logs", "/logs/stream"):
            answer = await api.get(path, params=query)
            assert answer.status_code == 400, answer.text
            assert answer.json()["error"]


async def test_clearing_leaves_only_its_own_trace(tmp_path: Path) -> None:
    async with admin(tmp_path, **DEBUG) as (_, api):
        LOG.info("before")
        answer = (await api.post("/logs/clear")).json()
        assert answer["message"] == "Logs cleared"
        assert answer["removed"] >= 1
        left = (await api.get("/logs")).json()["logs"]
        assert [(one["logger"], one["meta"]["action"]) for one in left] == [("orchestrator.audit", "logs.clear")]


async def test_a_tail_hears_what_comes_and_goes_on_where_it_was(tmp_path: Path) -> None:
    async with admin(tmp_path, **DEBUG) as (_, api):
        LOG.info("past")
        async with tail(api, level="warn", search="mark") as live:
            LOG.info("mark, not serious enough")
            LOG.warning("no such text")
            await asyncio.to_thread(LOG.warning, "mark 1")
            seen, name, data = await live.event()
            assert (name, data["message"], data["id"]) == ("log", "mark 1", seen)
        LOG.error("mark 2")
        async with tail(api, {"Last-Event-ID": seen}, level="warn", search="mark") as live:
            assert (await live.event())[2]["message"] == "mark 2"
        # An id of another process: everything that is kept.
        async with tail(api, {"Last-Event-ID": "abc-99999"}, search="mark") as live:
            assert (await live.event())[2]["message"] == "mark, not serious enough"


async def test_what_does_not_fit_is_told_as_lost(tmp_path: Path) -> None:
    async with admin(tmp_path, logging={"level": "debug", "keep": 10}) as (_, api):
        LOG.info("first")
        seen = (await api.get("/logs", params={"limit": 1})).json()["logs"][0]["id"]
        for number in range(25):
            LOG.info("mark %d", number)
        async with tail(api, {"Last-Event-ID": seen}, search="mark") as live:
            assert (await live.event())[1:] == ("lost", {"count": 15})
            assert (await live.event())[2]["message"] == "mark 15"
        # What an operator cleared is not lost.
        await api.post("/logs/clear")
        async with tail(api, {"Last-Event-ID": seen}) as live:
            assert (await live.event())[2]["meta"]["action"] == "logs.clear"


async def test_tails_end_with_the_service_and_are_bounded(tmp_path: Path) -> None:
    async with admin(tmp_path, **DEBUG) as (running, api):
        async with tail(api) as live:
            await running.until(lambda: running.service.log_entries.listeners == 1)
            running.service.stop()
            async with asyncio.timeout(5):
                while (event := await live.event())[1] != "end":
                    assert event[1] == "log"
        async with asyncio.timeout(5):
            await running.task


async def test_too_many_tails_are_refused(tmp_path: Path) -> None:
    async with admin(tmp_path) as (running, api):
        book = running.service.log_entries
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=running.url + ADMIN, timeout=20, limits=limits) as many:
            opened = [many.stream("GET", "/logs/stream") for _ in range(32)]
            for one in opened:
                await one.__aenter__()
            await running.until(lambda: book.listeners == 32)
            refused = await api.get("/logs/stream")
            assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
            for one in opened:
                await one.__aexit__(None, None, None)
        await running.until(lambda: book.listeners == 0)


async def test_logs_are_for_administrators(tmp_path: Path) -> None:
    keys = [
        {"name": "root", "key": "root-key-root-key", "role": "admin"},
        {"name": "dev", "key": "dev-key-dev-key-1", "role": "developer"},
    ]
    async with admin(tmp_path, auth={"enabled": True, "keys": keys}) as (_, api):
        for method, path in (("GET", "/logs"), ("GET", "/logs/stream"), ("POST", "/logs/clear")):
            assert (await api.request(method, path)).status_code == 401
            dev = {"Authorization": "Bearer dev-key-dev-key-1"}
            assert (await api.request(method, path, headers=dev)).status_code == 403
        root = {"Authorization": "Bearer root-key-root-key"}
        assert (await api.get("/logs", headers=root)).status_code == 200


async def test_the_command_line_shows_and_follows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with admin(tmp_path, **DEBUG) as (running, _):
        command = CommandLine(capsys, running.url)
        LOG.info("mark old")
        LOG.error("mark new", extra={"node": "a"})
        shown = await command("logs", "--search", "mark")
        assert shown.status == 0, shown.err
        lines = [line.split("\t")[1:] for line in shown.out.splitlines()]
        assert lines == [
            ["info", "orchestrator.test", "mark old"],
            ["error", "orchestrator.test", "mark new  node=a"],
        ]
        assert (await command("logs", "--search", "mark", "--level", "error", "--json")).json["total"] == 1
        assert (await command("logs", "--level", "loud")).status == 2
        following = asyncio.create_task(command("logs", "--follow", "--search", "mark", "--json"))
        await running.until(lambda: running.service.log_entries.listeners == 1)
        LOG.info("mark live")
        running.service.stop()
        result = await following
        assert [json.loads(line)["message"] for line in result.out.splitlines()] == [
            "mark old",
            "mark new",
            "mark live",
        ]
        assert (result.status, "stopped" in result.err) == (0, True)


async def test_the_command_line_clears(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with admin(tmp_path, **DEBUG) as (running, api):
        LOG.info("mark")
        cleared = await CommandLine(capsys, running.url)("logs", "--clear")
        assert (cleared.status, "forgotten" in cleared.err) == (0, True)
        assert (await api.get("/logs", params={"search": "mark"})).json()["total"] == 0
