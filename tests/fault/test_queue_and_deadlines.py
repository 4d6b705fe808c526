"""A full fleet: who waits, who goes first, who is told to come back, and what is never sent to a node."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fleet_under_test import FORMS, OLLAMA, OPENAI, PLANES, FleetUnderTest, Form, fleet

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
KEYS: dict[str, Any] = {
    "auth": {
        "enabled": True,
        "keys": [
            {"name": "ann", "key": "sk-ann-0123456789abcdef", "priority": 10, "max_priority": 90},
            {"name": "bob", "key": "sk-bob-0123456789abcdef", "priority": 10},
        ],
    }
}
ANN = {"Authorization": "Bearer sk-ann-0123456789abcdef"}
BOB = {"Authorization": "Bearer sk-bob-0123456789abcdef"}


@contextlib.asynccontextmanager
async def busy(
    tmp_path: Path, plane: str = "protocol", config: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> AsyncIterator[tuple[FleetUnderTest, asyncio.Task[Any]]]:
    """A fleet of one node whose only place is taken until `release()`, and the request that has it."""
    async with fleet(tmp_path, ["a"], plane=plane, config=config, max_concurrency=1) as tried:
        tried.nodes["a"].mode("hang", times=1)
        occupant = asyncio.create_task(tried.post(OPENAI, headers=headers))
        await tried.nodes["a"].wait_for(lambda node: node.hanging == 1)
        yield tried, occupant
        tried.nodes["a"].release()
        assert (await occupant).status_code == 200
        await tried.settled()


async def waiting(tried: FleetUnderTest, count: int) -> None:
    await tried.running.until(lambda: len(tried.gateway.queue) == count)


def order(tried: FleetUnderTest) -> list[str]:
    """The texts that the node was asked, in turn, but for the first."""
    asked = [one for one in tried.nodes["a"].requests if one.path == OPENAI.path]
    return [one.body["messages"][0]["content"] for one in asked[1:]]


@every_plane
@every_form
async def test_the_queue_is_bounded_and_says_when_to_come_back(form: Form, plane: str, tmp_path: Path) -> None:
    async with busy(tmp_path, plane, {"queue": {"max_size": 3}}) as (tried, _):
        queued = [asyncio.create_task(tried.post(form)) for _ in range(3)]
        await waiting(tried, 3)

        started = time.monotonic()
        answer = await tried.post(form)

        assert time.monotonic() - started < 0.5
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "max concurrency" in form.error(answer.json())
        if form is OLLAMA:
            assert answer.json()["model"] == "demo"
            assert (answer.json()["queuePosition"], answer.json()["expectedWaitMs"] >= 1000) == (4, True)
        elif form is OPENAI:
            assert answer.json()["error"]["type"] == "capacity_error"
            assert answer.json()["error"]["queuePosition"] == 4
        else:
            assert answer.json()["error"]["type"] == "overloaded_error"
        assert tried.gateway.queue.total_dropped == 1
        tried.nodes["a"].release()
        answers = await asyncio.gather(*queued)
        assert {one.status_code for one in answers} == {200}
        assert all(int(one.headers["x-queue-wait-ms"]) > 0 for one in answers)
        assert "x-queue-wait-ms" not in (await tried.post(form)).headers


@every_plane
async def test_without_a_queue_a_full_fleet_answers_at_once(plane: str, tmp_path: Path) -> None:
    async with busy(tmp_path, plane, {"queue": {"enabled": False}}) as (tried, _):
        answer = await tried.post(OLLAMA)

        assert answer.status_code == 503
        assert answer.json()["error"].startswith("All servers at max concurrency")
        assert "retry-after" in answer.headers


@every_plane
@every_form
async def test_what_expires_in_the_queue_is_never_sent(form: Form, plane: str, tmp_path: Path) -> None:
    async with busy(tmp_path, plane, {"queue": {"timeout": 0.4}}) as (tried, _):
        own, common = await asyncio.gather(
            tried.post(form, headers={"X-Request-Timeout": "150"}, text="own time"),
            tried.post(form, text="the queue's time"),
        )

        assert (own.status_code, common.status_code) == (504, 503)
        assert all(int(one.headers["retry-after"]) >= 1 for one in (own, common))
        assert all(int(one.headers["x-queue-wait-ms"]) >= 100 for one in (own, common))
        if form is OLLAMA:
            assert all(one.json()["queuePosition"] >= 1 for one in (own, common))
        for answer in (own, common):
            assert int(answer.headers["retry-after"]) >= 1
            assert form.error(answer.json())
        assert not len(tried.gateway.queue)
        tried.nodes["a"].release()
        assert (await tried.post(form, text="later")).status_code == 200
        assert len(tried.inference("a")) == 2


async def test_higher_priority_goes_first_and_nobody_may_ask_for_more_than_is_theirs(tmp_path: Path) -> None:
    async with busy(tmp_path, config=KEYS, headers=ANN) as (tried, _):
        asked = [
            ("low", ANN, "0"),
            ("normal", ANN, None),
            ("high", ANN, "90"),
            ("greedy", BOB, "90"),  # may have 10
            ("higher", ANN, "50"),
        ]
        tasks = []
        for count, (text, who, priority) in enumerate(asked, 1):
            headers = who | ({"X-Priority": priority} if priority is not None else {})
            tasks.append(asyncio.create_task(tried.post(OPENAI, headers=headers, text=text)))
            await waiting(tried, count)
        tried.nodes["a"].release()
        await asyncio.gather(*tasks)

        turns = order(tried)
        assert turns[:2] == ["high", "higher"]
        assert set(turns[2:4]) == {"normal", "greedy"}
        assert turns[4] == "low"


async def test_a_backlog_does_not_starve_another_principal(tmp_path: Path) -> None:
    async with busy(tmp_path, config=KEYS, headers=ANN) as (tried, _):
        tasks = []
        for count in range(1, 13):
            who, text = (ANN, f"ann {count}") if count <= 10 else (BOB, f"bob {count}")
            tasks.append(asyncio.create_task(tried.post(OPENAI, headers=who, text=text)))
            await waiting(tried, count)
        tried.nodes["a"].release()
        await asyncio.gather(*tasks)

        turns = order(tried)
        assert [turn for turn in turns if turn.startswith("ann")] == [f"ann {count}" for count in range(1, 11)]
        assert max(turns.index("bob 11"), turns.index("bob 12")) <= 4


async def test_one_principal_may_fill_only_its_share(tmp_path: Path) -> None:
    config = {**KEYS, "queue": {"max_size": 4, "per_principal_share": 0.5}}
    async with busy(tmp_path, config=config, headers=ANN) as (tried, _):
        anns = [asyncio.create_task(tried.post(OPENAI, headers=ANN)) for _ in range(2)]
        await waiting(tried, 2)
        assert (await tried.post(OPENAI, headers=ANN)).status_code == 503
        bob = asyncio.create_task(tried.post(OPENAI, headers=BOB))
        await waiting(tried, 3)
        tried.nodes["a"].release()
        assert {one.status_code for one in await asyncio.gather(*anns, bob)} == {200}


@every_plane
async def test_pause_refuses_new_work_and_resume_lets_the_waiting_go_on(plane: str, tmp_path: Path) -> None:
    async with busy(tmp_path, plane) as (tried, occupant):
        queued = asyncio.create_task(tried.post(OPENAI, text="waited"))
        await waiting(tried, 1)
        tried.gateway.pause()

        refused = await tried.post(OLLAMA)

        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "paused" in refused.json()["error"]
        tried.nodes["a"].release()
        assert (await occupant).status_code == 200
        await tried.running.until(lambda: tried.in_flight == 0)
        assert not queued.done()
        assert len(tried.gateway.queue) == 1
        tried.gateway.resume()
        assert (await queued).status_code == 200
        assert (await tried.post(OPENAI)).status_code == 200


@every_plane
async def test_a_model_without_room_delays_no_other(plane: str, tmp_path: Path) -> None:
    from orchestrator.testing.model_server import ModelServer

    nodes = {"a": ModelServer(models=["demo"]), "b": ModelServer(models=["other"])}
    async with fleet(tmp_path, nodes, plane=plane, max_concurrency=1) as tried:
        nodes["a"].mode("hang")
        stuck = [asyncio.create_task(tried.post(OPENAI)) for _ in range(5)]
        await waiting(tried, 4)

        started = time.monotonic()
        answers = await asyncio.gather(*(tried.post(OPENAI, model="other") for _ in range(4)))

        assert {answer.status_code for answer in answers} == {200}
        assert time.monotonic() - started < 1.0
        nodes["a"].mode()
        nodes["a"].release()
        assert {answer.status_code for answer in await asyncio.gather(*stuck)} == {200}


@every_plane
@pytest.mark.parametrize("mode", ["hang", "hang_mid"])
async def test_a_callers_time_limit_is_kept_whatever_the_node_does(mode: Any, plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane) as tried:
        for node in tried.nodes.values():
            node.mode(mode, after=0)
        for form in FORMS:
            started = time.monotonic()
            answer = await tried.post(form, headers={"X-Request-Timeout": "300"})
            assert 0.2 < time.monotonic() - started < 1.0
            assert answer.status_code == 504
            assert form.error(answer.json())
        for node in tried.nodes.values():
            await node.wait_for(lambda seen: seen.in_flight == 0)


@every_plane
@pytest.mark.parametrize("value", ["", "0", "-1", "1e9", "abc", "5000000000000", "1;1", "\u0663"])
async def test_a_time_limit_that_is_none_is_refused(value: str, plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        answer = await tried.post(OPENAI, headers=[("X-Request-Timeout", value.encode())])

        assert answer.status_code == 400
        assert "X-Request-Timeout" in OPENAI.error(answer.json())
        assert not tried.inference("a")
