"""Breakers as traffic meets them: they open, they heal without help, and an operator's word holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fleet_under_test import FORMS, OLLAMA, OPENAI, PLANES, FleetUnderTest, Form, fleet
from orchestrator.domain.breaker import BreakerState

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
QUICK: dict[str, Any] = {"circuit_breaker": {"open_time": 0.4, "open_max": 2}, "retry": {"max_attempts": 1}}


async def opened(tried: FleetUnderTest) -> None:
    """Traffic on a failing node until its breaker opens."""
    for _ in range(15):
        if (await tried.post(OPENAI)).status_code == 503:
            break
    assert tried.breaker("a").state is BreakerState.OPEN


@every_plane
async def test_open_half_open_closed_without_help(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane, config=QUICK) as tried:
        node = tried.nodes["a"]
        node.mode("status", status=500)
        await opened(tried)
        reached = len(tried.inference("a"))
        for _ in range(5):
            assert (await tried.post(OPENAI)).status_code == 503
        assert len(tried.inference("a")) == reached  # nothing passes while it is open
        node.mode()

        breaker = tried.breaker("a")
        await tried.running.until(lambda: breaker.state is BreakerState.HALF_OPEN, 3)
        statuses = [(await tried.post(OPENAI)).status_code for _ in range(6)]

        assert statuses == [200] * 6
        assert breaker.state is BreakerState.CLOSED
        assert [change.state.value for change in breaker.history] == ["open", "half_open", "closed"]


@every_plane
async def test_half_open_lets_one_trial_through_and_the_rest_wait(plane: str, tmp_path: Path) -> None:
    config = {**QUICK, "queue": {"timeout": 10}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config) as tried:
        node = tried.nodes["a"]
        node.mode("status", status=500)
        await opened(tried)
        node.mode("hang")
        breaker = tried.breaker("a")
        await tried.running.until(lambda: breaker.state is BreakerState.HALF_OPEN, 3)

        crowd = [asyncio.create_task(tried.post(OPENAI)) for _ in range(10)]
        await node.wait_for(lambda seen: seen.hanging >= 1)
        await tried.running.until(lambda: len(tried.gateway.queue) == 9)

        assert node.hanging == breaker.trials == 1
        node.mode()
        node.release()
        assert {answer.status_code for answer in await asyncio.gather(*crowd)} == {200}
        assert breaker.state is BreakerState.CLOSED


@every_plane
async def test_a_failed_trial_opens_it_for_longer(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane, config=QUICK) as tried:
        tried.nodes["a"].mode("status", status=500)
        await opened(tried)
        breaker = tried.breaker("a")
        first = (breaker.open_until or 0) - breaker.opened_at
        await tried.running.until(lambda: breaker.state is BreakerState.HALF_OPEN, 3)

        assert (await tried.post(OPENAI)).status_code == 502

        assert breaker.state is BreakerState.OPEN
        assert (breaker.open_until or 0) - breaker.opened_at > first


@every_plane
async def test_a_node_that_asks_for_a_pause_gets_it(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane) as tried:
        tried.nodes["a"].mode("status", status=429, headers={"retry-after": "30"})

        answers = [await tried.post(OPENAI) for _ in range(20)]

        assert {answer.status_code for answer in answers} == {200}
        assert len(tried.inference("a")) == 1
        breaker = tried.breaker("a")
        assert breaker.state is BreakerState.OPEN
        assert (breaker.open_until or 0) - breaker.opened_at == pytest.approx(30, abs=0.1)


@every_plane
@every_form
async def test_a_lone_nodes_retry_after_reaches_the_client(form: Form, plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        tried.nodes["a"].mode("status", status=429, headers={"retry-after": "30"})

        first = await tried.post(form)
        second = await tried.post(form)

        for answer in (first, second):
            assert answer.status_code in (429, 502, 503)
            assert 25 <= int(answer.headers["retry-after"]) <= 32
            assert form.error(answer.json())
        assert len(tried.inference("a")) == 1


@every_plane
async def test_traffic_obeys_an_operator(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane) as tried:
        for _ in range(4):
            await tried.post(OPENAI)
        breaker, now = tried.breaker("a"), tried.gateway.clock
        breaker.force(BreakerState.OPEN, now.epoch)
        before = len(tried.inference("a"))
        for _ in range(6):
            assert (await tried.post(OPENAI)).headers["x-selected-server"] == "b"
        assert len(tried.inference("a")) == before

        breaker.force(BreakerState.CLOSED, now.epoch)
        for _ in range(4):
            await tried.post(OPENAI)
        assert len(tried.inference("a")) > before

        breaker.force(BreakerState.HALF_OPEN, now.epoch)
        for _ in range(8):
            assert (await tried.post(OPENAI)).status_code == 200
        assert breaker.state is BreakerState.CLOSED


@every_plane
async def test_a_direct_route_is_refused_by_an_open_breaker_and_bypass_goes_past_it(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane) as tried:
        for _ in range(4):
            await tried.post(OLLAMA)
        breaker = tried.breaker("a")
        breaker.force(BreakerState.OPEN, tried.gateway.clock.epoch)
        counts = (breaker.success_total, breaker.failure_total, breaker.state, breaker.generation)

        refused = await tried.client.post("/api/chat--a", json=OLLAMA.body(stream=False))
        passed = [
            await tried.client.post(f"/api/chat--a?{flag}=true", json=OLLAMA.body(stream=False))
            for flag in ("bypass", "force")
        ]
        tried.nodes["a"].mode("status", status=500)
        failed = await tried.client.post("/api/chat--a?bypass=true", json=OLLAMA.body(stream=False))

        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        assert [answer.status_code for answer in passed] == [200, 200]
        assert failed.status_code == 502
        assert (breaker.success_total, breaker.failure_total, breaker.state, breaker.generation) == counts
        assert tried.node("a").breaker.failure_total == 0
        await tried.settled()


async def test_slow_first_tokens_count_when_they_are_told_to(tmp_path: Path) -> None:
    config = {"circuit_breaker": {"slow_first_token": 0.05}}
    async with fleet(tmp_path, ["a"], config=config) as tried:
        tried.nodes["a"].mode("slow", ms=150)

        assert (await tried.stream(OPENAI)).ended == 1

        assert tried.breaker("a").failure_total == 1
        assert "first token" in tried.breaker("a").last_failure_reason


@every_plane
async def test_a_model_that_fails_takes_no_other_model_with_it(plane: str, tmp_path: Path) -> None:
    from orchestrator.testing.model_server import ModelServer

    node = ModelServer(models=["demo", "other"])
    async with fleet(tmp_path, {"a": node}, plane=plane, config=QUICK) as tried:
        node.mode("status", status=500, model="demo")
        node.mode("status", status=500, model="demo:latest")
        await opened(tried)

        assert (await tried.post(OPENAI, model="other")).status_code == 200
        assert tried.node("a").breaker.state is BreakerState.CLOSED


@every_plane
async def test_health_that_lies_does_not_hide_a_broken_node(plane: str, tmp_path: Path) -> None:
    """Its probes are well and its inference is broken: traffic opens the breaker. And the reverse: probes that fail
    take a node out, and its work goes elsewhere."""
    async with fleet(tmp_path, plane=plane) as tried:
        tried.nodes["a"].mode("wrong_health", fails="inference")
        assert {(await tried.post(OPENAI)).status_code for _ in range(20)} == {200}
        await tried.running.until(lambda: tried.node("a").healthy)
        assert tried.breaker("a").failure_total > 0
        tried.nodes["a"].reset()

        tried.nodes["b"].mode("status", status=500, routes="all")
        tried.breaker("a").reset(tried.gateway.clock.epoch)
        tried.node("a").state.forgive()
        await tried.running.until(lambda: not tried.node("b").healthy)
        before = len(tried.inference("b"))
        assert {(await tried.post(OPENAI)).headers["x-selected-server"] for _ in range(5)} == {"a"}
        assert len(tried.inference("b")) == before
