"""What the gateway promises while nodes fail under load, and what it never does to a client's own mistake."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from fleet_under_test import FORMS, OPENAI, PLANES, FleetUnderTest, Form, Seen, fleet, read_stream
from orchestrator.testing.model_server import ModelServer

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def _begun(tried: FleetUnderTest, name: str) -> list[Any]:
    return [one for one in tried.nodes[name].requests if one.tokens]


async def one_stream(tried: FleetUnderTest, form: Form) -> tuple[int, Seen]:
    answer = await tried.client.post(form.path, json=form.body(stream=True))
    return answer.status_code, read_stream(form, answer.content) if answer.status_code == 200 else Seen()


@every_plane
async def test_a_node_dies_under_a_hundred_streams(plane: str, tmp_path: Path) -> None:
    """20 have begun when it dies, 80 have no byte yet: the first break with one error, the others notice nothing."""
    async with fleet(tmp_path, plane=plane) as tried:
        a, b = tried.nodes["a"], tried.nodes["b"]
        for node in (a, b):
            node.mode("hang_mid", after=20, tokens=40)
        begun = [asyncio.create_task(one_stream(tried, FORMS[turn % 3])) for turn in range(20)]
        await tried.running.until(lambda: len(_begun(tried, "a")) + len(_begun(tried, "b")) == 20)
        doomed = len(_begun(tried, "a"))
        assert 5 <= doomed <= 15
        for node in (a, b):
            node.mode("hang", tokens=5)
        waiting = [asyncio.create_task(one_stream(tried, FORMS[turn % 3])) for turn in range(80)]
        await tried.running.until(lambda: a.hanging + b.hanging == 100)
        waited = a.hanging - doomed
        b.mode(tokens=5)

        await a.kill()
        b.release()

        answers = await asyncio.gather(*waiting)
        assert {status for status, _ in answers} == {200}
        assert all((seen.errors, seen.ended) == ([], 1) for _, seen in answers)
        outcomes = await asyncio.gather(*begun)
        whole = [seen for _, seen in outcomes if seen.ended]
        broken = [seen for _, seen in outcomes if not seen.ended]
        assert (len(whole), len(broken)) == (20 - doomed, doomed)
        assert all(not seen.errors for seen in whole)
        assert all(seen.broken for seen in broken)
        await tried.settled()

        # Why: the breakers, the numbers and the trace.
        node = tried.node("a")
        assert "open" in (node.breaker.state, tried.breaker("a").state)
        assert node.breaker.reason or tried.breaker("a").reason
        assert node.pairs["demo:latest"].traffic.errors == doomed
        moved = [record for record in tried.gateway.history if len(record.attempts) > 1]
        assert len(moved) == waited >= 30
        assert {record.attempts[0].kind for record in moved} == {"connect"}
        assert {record.attempts[-1].node_id for record in moved} == {"b"}
        told = [record for record in tried.gateway.history if record.outcome == "error"]
        assert {record.attempts[0].kind for record in told} == {"truncated"}


@pytest.mark.parametrize("breakers", [True, False], ids=["breakers", "no-breakers"])
@pytest.mark.parametrize("policy", ["warm_first", "least_connections", "latency_optimized", "round_robin"])
async def test_a_node_that_fails_fast_attracts_nobody(policy: str, breakers: bool, tmp_path: Path) -> None:
    """503 in no time beside answers in 500 ms: under 2 % of the traffic after the first second, and no client hurt."""
    config = {"gateway": {"policy": policy}, "circuit_breaker": {"enabled": breakers}, "retry": {"budget_ratio": 1.0}}
    async with fleet(tmp_path, config=config, max_concurrency=128) as tried:
        a, b = tried.nodes["a"], tried.nodes["b"]
        a.mode("status", status=503)
        b.mode("slow", ms=500)
        loop = asyncio.get_running_loop()
        started = loop.time()
        failed: list[int] = []

        async def client() -> None:
            while loop.time() < started + 2.5:
                answer = await tried.post(OPENAI)
                if answer.status_code != 200:
                    failed.append(answer.status_code)

        await asyncio.gather(*(client() for _ in range(64)))

        late = {name: _after(tried, name, started + 1.0) for name in tried.nodes}
        assert late["b"] > 100
        assert late["a"] < 0.02 * sum(late.values())
        assert not failed


def _after(tried: FleetUnderTest, name: str, moment: float) -> int:
    return sum(one.path == OPENAI.path and one.started_at >= moment for one in tried.nodes[name].requests)


@every_plane
@every_form
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
async def test_a_clients_own_error_comes_back_as_it_is_once(
    status: int, form: Form, plane: str, tmp_path: Path
) -> None:
    odd = {"error": {"type": "odd", "message": "no such field: frobnicate"}, "detail": [{"loc": ["body", 1]}]}
    kinds = dict.fromkeys("ab", form.name)
    async with fleet(tmp_path, plane=plane, kinds=kinds) as tried:
        for node in tried.nodes.values():
            node.mode("status", status=status, body=odd, headers={"x-internal": "secret", "set-cookie": "a=b"})
        for stream in (False, True):
            before = sum(len(tried.inference(name)) for name in tried.nodes)
            answer = await tried.post(form, stream=stream)

            assert answer.status_code == status
            assert answer.json() == odd
            assert answer.headers["content-type"].startswith("application/json")
            assert not {"set-cookie", "x-internal"} & set(answer.headers)
            assert sum(len(tried.inference(name)) for name in tried.nodes) == before + 1
            assert len(tried.last.attempts) == 1
        for name in tried.nodes:
            assert tried.node(name).breaker.failure_total == 0
            for pair in tried.node(name).pairs.values():
                assert (pair.breaker.failure_total, pair.breaker.state) == (0, "closed")
        await tried.settled()
        for node in tried.nodes.values():
            node.mode()
        assert (await tried.post(form)).status_code == 200


@every_form
@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_clients_own_error_is_translated_with_its_message(status: int, form: Form, tmp_path: Path) -> None:
    dialect = "openai" if form.name != "openai" else "ollama"
    async with fleet(tmp_path, {"a": ModelServer(dialects=[dialect])}, kinds={"a": dialect}) as tried:
        tried.nodes["a"].mode("status", status=status, message="the prompt is too long")

        answer = await tried.post(form)

        assert answer.status_code == status
        assert form.error(answer.json()) == "the prompt is too long"
        assert len(tried.inference("a")) == 1
        assert all(pair.breaker.failure_total == 0 for pair in tried.node("a").pairs.values())


async def test_client_errors_neither_open_nor_close_a_half_open_breaker(tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"]) as tried:
        assert (await tried.post(OPENAI)).status_code == 200
        breaker = tried.breaker("a")
        breaker.force(breaker.state.HALF_OPEN, tried.gateway.clock.epoch)
        tried.nodes["a"].mode("status", status=422)

        for _ in range(5):
            assert (await tried.post(OPENAI)).status_code == 422

        assert (breaker.state, breaker.trials) == ("half_open", 0)


async def test_ten_thousand_requests_of_every_kind_leave_nothing_behind(tmp_path: Path) -> None:
    """Good, refused, broken, cancelled, expired, unknown, malformed: every counter is back at nothing."""
    config: dict[str, Any] = {
        "retry": {"backoff_base": 0.001, "budget_ratio": 1.0},
        "circuit_breaker": {"open_time": 0.05, "open_max": 0.1},
        "queue": {"timeout": 0.5, "max_size": 30},
        "history": {"capacity": 500},
        "streaming": {"stall_threshold": 0.3},
    }
    async with fleet(tmp_path, config=config, max_concurrency=8) as tried:
        for seed, node in enumerate(tried.nodes.values()):
            node.mode("flaky", percent=20, seed=seed, fault={"kind": "cut", "after": 2}, path="/v1/chat/completions")
            node.mode("flaky", percent=20, seed=seed, fault={"kind": "status", "status": 400}, path="/api/chat")
            node.mode("flaky", percent=20, seed=seed, fault={"kind": "reset"}, path="/v1/messages")
        todo = iter(range(10_000))
        statuses: dict[int, int] = {}

        async def client() -> None:
            for turn in todo:
                status = await _one_of_many(tried, turn)
                statuses[status] = statuses.get(status, 0) + 1

        await asyncio.gather(*(client() for _ in range(32)))

        await tried.settled()
        assert {200, 400, 404} <= set(statuses), statuses
        assert statuses.get(500, 0) == 0, statuses
        assert statuses[200] > 3000
        assert len(tried.gateway.history) <= 500
        fleet_state = tried.running.service.fleet
        assert not tried.gateway.queue.waiting("demo:latest")
        assert all(value == 0 for value in fleet_state.roster.in_flight.values())
        assert all(node.state.in_flight == 0 for node in fleet_state.nodes.values())
        assert all(breaker.trials == 0 for breaker in fleet_state.breakers().values())
        for node in tried.nodes.values():
            await node.wait_for(lambda seen: seen.in_flight == 0)


async def _one_of_many(tried: FleetUnderTest, turn: int) -> int:
    form = FORMS[turn % 3]
    reader, writer = await asyncio.open_connection(*tried.address)
    body: dict[str, Any] = form.body(stream=turn % 2 == 0)
    if turn % 11 == 0:
        body["model"] = "nobody-has-it"
    data = json.dumps(body).encode()
    if turn % 13 == 0:
        data = data[:-5]
    timeout = b"X-Request-Timeout: 1\r\n" if turn % 17 == 0 else b""
    writer.write(
        b"POST %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%bContent-Length: %d\r\n\r\n"
        % (form.path.encode(), timeout, len(data))
        + data
    )
    try:
        if turn % 19 == 0:
            return 0  # leaves at once
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            if turn % 23:
                await reader.read()
        return int(head.split()[1])
    finally:
        writer.close()


async def test_memory_is_flat_over_thousands_of_failures(tmp_path: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    async with fleet(tmp_path, config={"history": {"capacity": 100}}, max_concurrency=8) as tried:
        for node in tried.nodes.values():
            node.mode("flaky", percent=50, fault={"kind": "cut", "after": 2})

        async def some(count: int) -> None:
            for turn in range(count):
                await _one_of_many(tried, turn * 2)

        await asyncio.gather(*(some(50) for _ in range(8)))
        before = resident()
        started = time.monotonic()
        for _ in range(3):
            await asyncio.gather(*(some(100) for _ in range(8)))
            if time.monotonic() - started > 20:
                break

        # The fake nodes keep their last 1,000 requests each, in this process too.
        assert resident() - before < 15 << 20
        await tried.settled()
