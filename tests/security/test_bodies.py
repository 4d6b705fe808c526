"""Bodies that are too large, too deep, not text or not ours: refused at once in the dialect's form, nothing kept."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from fleet_under_test import ANTHROPIC, FORMS, OPENAI, PLANES, Form, Wire, fleet, request
from orchestrator.testing.model_server import ModelServer

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@every_plane
@every_form
async def test_a_gigabyte_is_refused_before_it_is_read(form: Form, plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for query in ("", "?debug=true"):
            async with Wire(tried.address) as wire:
                started = time.monotonic()
                start = f"POST {form.path}{query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n{{"
                await wire.send(start.encode())
                status, headers, body = await wire.answer()

                assert time.monotonic() - started < 1
                assert status == 413
                assert headers["connection"] == "close"
                assert "limit" in form.error(json.loads(body))
                assert await wire.to_end() == b""


@every_plane
@every_form
async def test_a_body_without_a_length_is_counted_as_it_comes(form: Form, plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane, config={"server": {"max_body": 65536}}) as tried:
        async with Wire(tried.address) as wire:
            start = f"POST {form.path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            await wire.send(start.encode() + (b"4000\r\n" + b" " * 0x4000 + b"\r\n") * 4 + b"1\r\n \r\n0\r\n\r\n")
            status, _, body = await wire.answer()

        assert status == 413
        assert "65536" in form.error(json.loads(body))
        assert not tried.inference("a")


@every_plane
@pytest.mark.parametrize(
    "start",
    ["Content-Length: 1000000000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n401\r\n" + " " * 1025 + "\r\n0\r\n\r\n"],
)
async def test_each_interface_refuses_a_body_in_its_own_form(plane: str, start: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane, config={"server": {"max_body": 1024}}) as tried:
        told = {}
        for path in ("/api/v1/tasks", "/api/v1/tasks/batch", "/api/orchestrator/keys", "/tools/"):
            async with Wire(tried.address) as wire:
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                await wire.send((head + start).encode())
                status, _, body = await wire.answer()
                assert status == 413, (path, body)
                told[path] = json.loads(body)
    for path in ("/api/v1/tasks", "/api/v1/tasks/batch"):
        assert told[path].keys() == {"success", "error", "details", "timestamp"}
        assert told[path]["success"] is False
        assert told[path]["details"] == {"code": "TOO_LARGE", "retryable": False}
    assert told["/api/orchestrator/keys"].keys() == {"error", "code", "retryable"}
    assert told["/tools/"]["detail"] == told["/tools/"]["error"]


@every_plane
async def test_a_body_just_within_the_limit_arrives_whole(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        before = resident()
        text = "ä" * (10 << 20)  # 20 MB
        answer = await tried.post(OPENAI, text=text)
        assert answer.status_code == 200
        [received] = tried.received("a")
        assert received.body["messages"][0]["content"] == text
        await tried.settled()
        assert resident() - before < 400 << 20  # of which the client and the node hold most
        assert not tried.gateway.history[-1].error


DEEP = 100_000
HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "a word": b"hello",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1e999",
    "a string": b'"x"',
    "cut off": b'{"model":"demo","messages":[{"role":"user","con',
    "two values": b'{"model":"demo","messages":[{"role":"user","content":"x"}]}{}',
    "brackets": b"[" * DEEP,
    "deep messages": b'{"model":"demo","messages":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep and unknown": b'{"model":"demo","messages":[{"role":"user","content":"x"}],"x":'
    + b'{"a":' * DEEP
    + b"1"
    + b"}" * DEEP
    + b"}",
    "invalid UTF-8 in the text": b'{"model":"demo","max_tokens":9,"messages":[{"role":"user","content":"\xff\xfe"}]}',
    "overlong UTF-8": b'{"model":"demo","max_tokens":9,"messages":[{"role":"user","content":"\xc0\xaf"}]}',
    "invalid UTF-8 in the model": b'{"model":"\xff","max_tokens":9,"messages":[{"role":"user","content":"x"}]}',
    "a model that is a number": b'{"model":5,"messages":[{"role":"user","content":"x"}]}',
    "a model that is a list": b'{"model":["demo"],"messages":[{"role":"user","content":"x"}]}',
    "an empty model": b'{"model":"","messages":[{"role":"user","content":"x"}]}',
    "stream that is text": b'{"model":"demo","stream":"yes","messages":[{"role":"user","content":"x"}]}',
    "NUL bytes": b"\0" * 1000,
    "gzip": gzip.compress(b'{"model":"demo","messages":[{"role":"user","content":"x"}]}'),
    "UTF-16": '{"model":"demo","messages":[{"role":"user","content":"x"}]}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"model":"demo","messages":[{"role":"user","content":"x"}]}',
    "a model of a megabyte": b'{"model":"' + b"m" * (1 << 20) + b'","messages":[{"role":"user","content":"x"}]}',
    "half a surrogate": b'{"model":"\\ud800","messages":[{"role":"user","content":"x"}]}',
}


@every_plane
@every_form
@pytest.mark.parametrize("kind", ["demo", "openai"])
async def test_hostile_bodies_are_refused_in_the_dialects_form(
    kind: str, form: Form, plane: str, tmp_path: Path
) -> None:
    dialects = ["openai"] if kind == "openai" else ["openai", "anthropic", "ollama"]
    async with fleet(tmp_path, {"a": ModelServer(dialects=dialects)}, kinds={"a": kind}, plane=plane) as tried:
        for name, body in HOSTILE.items():
            for query in ("", "?debug=true"):
                started = time.monotonic()
                answer = await tried.client.post(form.path + query, content=body)
                assert time.monotonic() - started < 1.0, name
                assert answer.status_code == 400, (name, answer.status_code, answer.text[:300])
                assert form.error(answer.json() if not query else _without_debug(answer.json())), name
                assert len(answer.content) < 5000, name
        assert not tried.inference("a")
        assert not any(breaker.failure_total for breaker in tried.running.service.fleet.breakers().values())
        await tried.settled()


def _without_debug(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "debug"}


@every_plane
@every_form
async def test_deep_but_legal_bodies_of_another_dialect_do_no_harm(form: Form, plane: str, tmp_path: Path) -> None:
    """What is nested within limits but is nonsense reaches the translation; it refuses, it does not fall over."""
    odd: list[Any] = [5, None, True, [], {}, [[[]]], {"role": 5}, {"role": "user", "content": {"a": [1]}}]
    odd += [{"role": "user", "content": [{"type": "image_url", "image_url": 5}]}, {"role": "tool"}, {"role": "\0"}]
    odd += [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{" * 1000}}]}]
    dialect = "openai" if form is not OPENAI else "ollama"
    async with fleet(tmp_path, {"a": ModelServer(dialects=[dialect])}, kinds={"a": dialect}, plane=plane) as tried:
        for message in odd:
            for more in (
                {},
                {"tools": 5},
                {"tools": [{}]},
                {"stop": {"a": 1}},
                {"max_tokens": "many"},
                {"options": []},
            ):
                body = form.body(stream=False) | {"messages": [message]} | more
                answer = await tried.client.post(form.path, json=body)
                assert answer.status_code in (200, 400), (body, answer.text)
                if answer.status_code == 400:
                    assert form.error(answer.json())
        assert not any(breaker.failure_total for breaker in tried.running.service.fleet.breakers().values())
        assert (await tried.post(form)).status_code == 200


@every_plane
async def test_other_content_types_are_refused_and_what_curl_sends_is_not(plane: str, tmp_path: Path) -> None:
    body = json.dumps(OPENAI.body(stream=False)).encode()
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for kind, status in (
            ("application/x-www-form-urlencoded", 200),
            ("text/plain", 200),
            ("application/json; charset=utf-8", 200),
            ("application/vnd.api+json", 200),
            ("multipart/form-data; boundary=x", 400),
            ("application/octet-stream", 400),
            ("text/html", 400),
        ):
            answer = await tried.client.post(OPENAI.path, content=body, headers={"Content-Type": kind})
            assert answer.status_code == status, kind
        async with Wire(tried.address) as wire:
            await wire.send(request(OPENAI.path, body))  # none at all
            assert (await wire.answer())[0] == 200


@every_plane
async def test_unknown_models_leave_no_trace_in_memory_or_metrics(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane, config={"history": {"capacity": 100}}) as tried:
        size = len((await tried.client.get("/metrics")).content)

        async def guess(start: int) -> None:
            for turn in range(start, start + 100):
                answer = await tried.post(ANTHROPIC, model=f"guess-{turn}-" + "x" * 200)
                assert answer.status_code == 404

        await asyncio.gather(*(guess(turn * 100) for turn in range(8)))

        metrics = (await tried.client.get("/metrics")).text
        assert "guess-" not in metrics
        assert len(metrics) < size + 3000
        assert "guess-" not in str(list(tried.running.service.fleet.breakers()))
        assert len(tried.gateway.history) <= 100
