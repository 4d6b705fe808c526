"""A node fails before the client has a byte: the client never notices, the trace tells why."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from fleet_under_test import ANTHROPIC, FORMS, OLLAMA, OPENAI, PLANES, FleetUnderTest, Form, fleet
from orchestrator.testing.model_server import ModelServer
from scripted_node import ScriptedNode, whole

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)

# mode, its options, the kind of failure that trace, metrics and breakers name
FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("reset", {}, "connect"),
    ("close", {}, "connect"),
    ("status", {"status": 500}, "status"),
    ("status", {"status": 503}, "status"),
    ("status", {"status": 408}, "status"),
    ("status", {"status": 429}, "rate_limited"),
    ("status", {"status": 302}, "malformed"),
    ("flaky", {"percent": 100, "fault": {"kind": "reset"}}, "connect"),
    ("error_body_200", {}, "status"),
    ("malformed", {}, "malformed"),
    ("cut", {}, "truncated"),
    ("half_close", {}, "truncated"),
    ("eof", {}, "malformed"),  # half the JSON under a right Content-Length
]


async def until_it_strikes(tried: FleetUnderTest, form: Form, **body: Any) -> dict[str, Any]:
    """Asks until the request went to `a` first; every answer must be good. Returns the decision trace."""
    for _ in range(4):
        answer = await tried.post(form, query="?debug=true", **body)
        assert answer.status_code == 200, answer.text
        assert form.text(answer.json()).startswith("echo: one")
        trace: dict[str, Any] = answer.json()["debug"]
        assert answer.headers["x-servers-tried"] == ",".join(trace["serversTried"])
        if trace["serversTried"] == ["a", "b"]:
            assert answer.headers["x-selected-server"] == "b"
            assert answer.headers["x-failover-occurred"] == "1"
            assert answer.headers["x-retry-count"] == "1"
            return trace
    raise AssertionError("no request went to the faulty node first")


@every_plane
@pytest.mark.parametrize(("mode", "options", "kind"), FAULTS, ids=lambda value: str(value).replace(" ", ""))
async def test_a_broken_answer_fails_over(
    mode: Any, options: dict[str, Any], kind: str, plane: str, tmp_path: Path
) -> None:
    async with fleet(tmp_path, plane=plane) as tried:
        tried.nodes["a"].mode(mode, **options)

        trace = await until_it_strikes(tried, OPENAI)

        assert trace["failoverOccurred"] is True
        assert [(one["serverId"], one["errorType"]) for one in trace["failoverErrors"]] == [("a", kind)]
        assert trace["failoverErrors"][0]["error"]
        a, b = tried.last.attempts
        assert (a.node_id, a.kind, b.node_id, b.kind) == ("a", kind, "b", "")
        assert tried.breaker("a").failure_total + tried.node("a").breaker.failure_total >= 1
        assert tried.breaker("b").failure_total == 0
        await tried.settled()


@every_form
@pytest.mark.parametrize("dialects", [None, ["openai"], ["ollama"]], ids=["relayed", "to-openai", "to-ollama"])
async def test_streams_fail_over_before_their_first_event_in_every_dialect(
    form: Form, dialects: list[str] | None, tmp_path: Path
) -> None:
    nodes = {name: ModelServer(dialects=dialects) if dialects else ModelServer() for name in "ab"}
    kind = dialects[0] if dialects else "demo"
    async with fleet(tmp_path, nodes, kinds={"a": kind, "b": kind}) as tried:
        for mode in ("reset", "status", "error_body_200", "sse_error_midway"):
            for node in nodes.values():
                node.mode(mode, after=0, times=1)  # whoever is asked first fails, the second does not
                nodes["a" if node is nodes["b"] else "b"].mode()
                seen = await tried.stream(form)
                assert (seen.text, seen.errors, seen.ended) == ("echo: one two three four", [], 1), mode
                node.reset()
        await tried.settled()


@every_plane
async def test_a_node_that_hangs_before_its_headers_is_left_for_another(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, plane=plane, config={"gateway": {"first_byte_timeout": 0.3}}) as tried:
        tried.nodes["a"].mode("hang")

        trace = await until_it_strikes(tried, OLLAMA)

        assert trace["failoverErrors"][0]["errorType"] == "timeout"
        await tried.nodes["a"].wait_for(lambda node: node.in_flight == 0)  # the hanging request was cancelled
        assert tried.nodes["a"].disconnects == 1
        await tried.settled()


@every_plane
async def test_a_refused_connection_fails_over(plane: str, tmp_path: Path) -> None:
    config = {"health_check": {"failure_threshold": 100}, "circuit_breaker": {"enabled": False}}
    async with fleet(tmp_path, plane=plane, config=config) as tried:
        await tried.nodes["a"].kill()

        trace = await until_it_strikes(tried, ANTHROPIC)

        assert trace["failoverErrors"][0]["errorType"] == "connect"


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
GOOD = b'{"choices":[{"message":{"role":"assistant","content":"evil"}}]}'
FRAMINGS = {
    "two lengths": whole(GOOD, b"Content-Length: 5"),
    "two equal lengths": whole(GOOD, b"Content-Length: %d" % len(GOOD)),
    "length and chunked": whole(GOOD, b"Transfer-Encoding: chunked"),
    "chunked and length": CHUNKED + b"Content-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "length with a list": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
    "length in hexadecimal": b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
    "folded length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "size with a sign": CHUNKED + b"\r\n+5\r\nhello\r\n0\r\n\r\n",
    "size with an underscore": CHUNKED + b"\r\n1_0\r\nhellohellohello!\r\n0\r\n\r\n",
    "size that is no number": CHUNKED + b"\r\nxyz\r\nhello\r\n0\r\n\r\n",
    "size without digits": CHUNKED + b"\r\n\r\nhello\r\n0\r\n\r\n",
    "size of 17 digits": CHUNKED + b"\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "endless size line": CHUNKED + b"\r\n5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"\r\n3\r\nhello\r\n0\r\n\r\n",
    "bare line feeds": CHUNKED + b"\r\n5\nhello\n0\n\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\nContent-Length: 2\r\n\r\n{}",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"x" * 100_000 + b"\r\n",
    "JSON that is not an object": whole(b'["a"]'),
    "nothing at all": whole(b""),
    "no JSON": whole(b"<html>Bad gateway</html>"),
    "NUL bytes": whole(b"\0" * 100),
    "JSON nested a hundred thousand times": whole(b'{"a":' * 100_000),
}


@pytest.mark.parametrize("answer", FRAMINGS.values(), ids=FRAMINGS.keys())
async def test_wrong_framing_or_content_of_an_answer_fails_over(answer: bytes, tmp_path: Path) -> None:
    nodes: dict[str, Any] = {"a": ScriptedNode(answer), "b": ModelServer(dialects=["openai"])}
    async with fleet(tmp_path, nodes, kinds={"a": "openai", "b": "openai"}) as tried:
        trace = await until_it_strikes(tried, OPENAI)

        assert trace["failoverErrors"][0]["errorType"] in ("malformed", "truncated")
        assert len(nodes["a"].heads) == 1
        await tried.settled()


@pytest.mark.parametrize("step", [1, 7])
async def test_a_whole_answer_may_come_in_any_pieces(step: int, tmp_path: Path) -> None:
    answer = CHUNKED + b"X-Odd: 1\r\n\r\n%x;note=1\r\n%b\r\n0\r\nX-Trailer: 2\r\n\r\n" % (len(GOOD), GOOD)
    node = ScriptedNode(*[answer[at : at + step] for at in range(0, len(answer), step)])
    async with fleet(tmp_path, {"a": node}, kinds={"a": "openai"}) as tried:
        for _ in range(2):  # the second on the connection of the first
            got = await tried.post(OPENAI)
            assert (got.status_code, got.content) == (200, GOOD)


@every_plane
async def test_an_idle_connection_closed_just_as_it_is_reused_is_no_failure(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        assert (await tried.post(OPENAI)).status_code == 200
        tried.nodes["a"].mode("close", times=1)  # strikes on the kept-alive connection

        answer = await tried.post(OPENAI, query="?debug=true")

        assert answer.status_code == 200
        assert answer.json()["debug"]["serversTried"] == ["a"]
        assert tried.breaker("a").failure_total == tried.node("a").breaker.failure_total == 0


@every_form
@every_plane
async def test_all_down_is_told_quickly_in_the_dialects_own_form(form: Form, plane: str, tmp_path: Path) -> None:
    """Refused at first, then known to be down: 502 or 503, and when to come back."""
    async with fleet(tmp_path, plane=plane) as tried:
        for node in tried.nodes.values():
            await node.kill()
        for stream in (False, True):
            started = time.monotonic()
            answer = await tried.post(form, stream=stream)
            assert time.monotonic() - started < 1.5
            assert answer.status_code in (502, 503)
            assert form.error(answer.json())
        fleet_nodes = tried.running.service.fleet.nodes.values()
        await tried.running.until(lambda: not any(node.healthy for node in fleet_nodes))

        started = time.monotonic()
        answer = await tried.post(form)

        assert time.monotonic() - started < 0.25
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "demo" in form.error(answer.json())


@every_form
async def test_open_breakers_answer_at_once_with_the_time_left(form: Form, tmp_path: Path) -> None:
    config = {"circuit_breaker": {"open_time": 30}}
    async with fleet(tmp_path, config=config) as tried:
        for node in tried.nodes.values():
            node.mode("status", status=500)
        for _ in range(12):
            await tried.post(form)
        await tried.running.until(lambda: tried.breaker("a").state == tried.breaker("b").state == "open")

        started = time.monotonic()
        answer = await tried.post(form)

        assert time.monotonic() - started < 0.25
        assert answer.status_code == 503
        assert 1 <= int(answer.headers["retry-after"]) <= 37
        assert form.error(answer.json())


async def test_retries_stay_within_their_budget(tmp_path: Path) -> None:
    """Everything fails: what the nodes get is the traffic and a fifth of it, not three times as much."""
    config = {
        "retry": {"budget_ratio": 0.2, "budget_min_per_second": 0.1, "backoff_base": 0.001},
        "circuit_breaker": {"enabled": False},
    }
    async with fleet(tmp_path, config=config, max_concurrency=256) as tried:
        for node in tried.nodes.values():
            node.mode("status", status=500)

        answers = await asyncio.gather(*(tried.post(OPENAI) for _ in range(200)))

        assert {answer.status_code for answer in answers} <= {502, 503}
        received = sum(len(tried.inference(name)) for name in tried.nodes)
        assert received <= 200 * 1.2 + 2
        assert tried.gateway.retry_budget.refused > 0
        await tried.settled()


async def test_half_an_answer_that_nobody_saw_is_in_no_figure(tmp_path: Path) -> None:
    """The time to the first token is that of the answer which the client got, on the node that gave it."""
    async with fleet(tmp_path) as tried:
        tried.nodes["a"].mode("cut")
        tried.nodes["b"].mode("slow", ms=100)

        trace = await until_it_strikes(tried, OPENAI)

        assert trace["timeToFirstToken"] >= 100
        assert tried.node("b").state.records["demo:latest"].first >= 0.1


async def test_a_flaky_node_beside_a_good_one_costs_no_client_anything(tmp_path: Path) -> None:
    async with fleet(tmp_path, config={"retry": {"budget_ratio": 0.5}}) as tried:
        tried.nodes["a"].mode("flaky", percent=30, seed=7)

        answers = [await tried.post(OPENAI) for _ in range(100)]

        assert {answer.status_code for answer in answers} == {200}
        assert tried.breaker("a").failure_total > 0
