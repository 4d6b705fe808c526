"""A node fails when the client has the beginning already: one explicit error, never an end that looks good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleet_under_test import ANTHROPIC, FORMS, OLLAMA, OPENAI, PLANES, FleetUnderTest, Form, fleet, read_stream
from orchestrator.testing.model_server import ModelServer
from scripted_node import STREAMS, ScriptedNode, chunked, whole

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
# What the node speaks: the client's own dialect, or one to be translated from.
ways = pytest.mark.parametrize("way", ["relayed", "translated"])
OTHER = {"openai": "ollama", "anthropic": "openai", "ollama": "openai"}
PACE = {"tokens_per_second": 400.0}  # so that each token is a read of its own
SLOW = "s l o w l y " * 8

BREAKS: list[tuple[str, dict[str, Any], str]] = [
    ("cut", {"after": 3}, "truncated"),
    ("eof", {"after": 3}, "truncated"),
    ("half_close", {"after": 3}, "truncated"),
    ("hang_mid", {"after": 3}, "stalled"),
    ("sse_error_midway", {"after": 3}, "status"),
]


def node_for(form: Form, way: str) -> tuple[ModelServer, str]:
    dialect = form.name if way == "relayed" else OTHER[form.name]
    return ModelServer(dialects=[dialect]), dialect


@ways
@every_form
@every_plane
@pytest.mark.parametrize(("mode", "options", "kind"), BREAKS, ids=[name for name, _, _ in BREAKS])
async def test_a_broken_stream_ends_with_exactly_one_error(
    mode: Any, options: dict[str, Any], kind: str, plane: str, form: Form, way: str, tmp_path: Path
) -> None:
    node, dialect = node_for(form, way)
    config = {"streaming": {"stall_threshold": 0.3}}
    async with fleet(tmp_path, {"a": node}, kinds={"a": dialect}, plane=plane, config=config) as tried:
        node.mode(mode, **options, **PACE)

        seen = await tried.stream(form)

        assert seen.text == "echo: one two"
        assert seen.broken, seen
        record = tried.last
        assert (record.outcome, record.status, len(record.attempts)) == ("error", 200, 1)
        assert record.attempts[0].kind == kind
        name = next(iter(tried.node("a").pairs))
        assert tried.breaker("a", name).failure_total == 1
        assert tried.node("a").pairs[name].traffic.errors == 1
        await tried.settled()
        node.mode()
        assert (await tried.stream(form)).ended == 1  # the connection and the node are good for more


@every_plane
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses", "/api/generate"])
@pytest.mark.parametrize("mode", ["cut", "eof"])
async def test_other_endpoints_say_so_too(mode: Any, path: str, plane: str, tmp_path: Path) -> None:
    field = "input" if path.endswith("responses") else "prompt"
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        tried.nodes["a"].mode(mode, after=3, **PACE)

        answer = await tried.client.post(path, json={"model": "demo", field: "one two three four", "stream": True})

        events = [line for line in answer.content.split(b"\n") if b"{" in line]
        errors = [event for event in events if b'"error":{' in event or b'"error":"' in event]
        assert len(errors) == 1
        assert errors[0] == events[-1]
        for marker in (b"[DONE]", b"response.completed", b'"done":true'):
            assert marker not in answer.content


@every_plane
async def test_an_error_in_band_counts_even_with_the_usual_end_behind_it(plane: str, tmp_path: Path) -> None:
    """vLLM ends a stream that failed with `data: [DONE]`; the client has its error, the breaker must hear of it."""
    node = ScriptedNode(
        *chunked(
            b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n',
            b'data: {"error":{"message":"out of memory","type":"x","param":null,"code":null}}\n\n',
            b"data: [DONE]\n\n",
        )
    )
    async with fleet(tmp_path, {"a": node}, kinds={"a": "openai"}, plane=plane) as tried:
        answer = await tried.client.post(OPENAI.path, json=OPENAI.body(stream=True))

        assert answer.content.count(b"out of memory") == 1
        assert tried.last.outcome == "error"
        assert tried.breaker("a", "demo").failure_total == 1


@every_plane
async def test_a_whole_answer_too_large_to_hold_is_broken_off(plane: str, tmp_path: Path) -> None:
    """Not streamed and 6 MB of it out already: the connection breaks, so that nobody takes the half for the whole."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9000000\r\n\r\n"
    node = ScriptedNode(head, b'{"text":"', *[b"x" * 500_000] * 12, close=True)
    async with fleet(tmp_path, {"a": node}, kinds={"a": "openai"}, plane=plane) as tried:
        with pytest.raises(Exception, match=r"(?i)peer closed|reset|read|disconnected|incomplete") as raised:
            await tried.post(OPENAI)

        assert type(raised.value).__module__.startswith("httpx2")
        assert tried.last.outcome == "error"
        await tried.settled()


@ways
@every_form
async def test_a_line_of_ten_megabytes_passes_whole(form: Form, way: str, tmp_path: Path) -> None:
    node, dialect = node_for(form, way)
    async with fleet(tmp_path, {"a": node}, kinds={"a": dialect}) as tried:
        node.mode("huge_line", megabytes=10, after=1)

        seen = await tried.stream(form)

        assert len(seen.text) > 10_000_000
        assert (seen.errors, seen.ended) == ([], 1)


@every_plane
async def test_an_event_without_end_is_given_up_not_kept(plane: str, tmp_path: Path) -> None:
    node = ScriptedNode(*chunked(b'data: {"x":"', *[b"y" * 1_000_000] * 40), close=True)
    async with fleet(tmp_path, {"a": node}, kinds={"a": "openai"}, plane=plane) as tried:
        answer = await tried.client.post(OPENAI.path, json=OPENAI.body(stream=True))

        assert answer.status_code == 502  # no event was whole, so the client had no byte
        assert {attempt.kind for attempt in tried.last.attempts} == {"malformed"}


@ways
@every_form
@every_plane
async def test_characters_split_over_packets_arrive_whole(form: Form, way: str, plane: str, tmp_path: Path) -> None:
    node, dialect = node_for(form, way)
    async with fleet(tmp_path, {"a": node}, kinds={"a": dialect}, plane=plane) as tried:
        plain = await tried.stream(form, text="grüße 世界 🎉")
        node.mode("split_utf8")

        seen = await tried.stream(form, text="grüße 世界 🎉")

        assert (seen.errors, seen.ended) == ([], 1)
        assert "🎉" in plain.text
        assert all(character not in seen.text for character in "\ufffd")
        assert seen.text.encode("utf-8")
        await tried.settled()


@every_form
async def test_malformed_json_in_a_translated_stream_is_one_error(form: Form, tmp_path: Path) -> None:
    node, dialect = node_for(form, "translated")
    async with fleet(tmp_path, {"a": node}, kinds={"a": dialect}) as tried:
        node.mode("malformed", after=3, **PACE)

        seen = await tried.stream(form)

        assert seen.broken, seen
        assert tried.last.attempts[0].kind == "malformed"


@every_form
async def test_missing_counts_are_estimated_and_marked(form: Form, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"]) as tried:
        tried.nodes["a"].mode("no_usage", **PACE)
        assert (await tried.stream(form)).ended == 1
        assert tried.last.estimated
        assert tried.last.completion_tokens >= 5

        tried.nodes["a"].mode(**PACE)
        more = {"stream_options": {"include_usage": True}} if form is OPENAI else {}
        await tried.stream(form, **more)
        assert not tried.last.estimated
        assert tried.last.completion_tokens == 5


# Continuation


async def continued(tried: FleetUnderTest, form: Form) -> bytes:
    """The stream of a request that went to `a` first, as bytes."""
    for _ in range(3):
        answer = await tried.client.post(form.path, json=form.body(stream=True))
        assert answer.status_code == 200
        if tried.last.attempts[0].node_id == "a":
            return answer.content
    raise AssertionError("no request went to `a` first")


@every_form
@every_plane
async def test_a_continuation_gives_the_whole_text_once(form: Form, plane: str, tmp_path: Path) -> None:
    a = ModelServer(dialects=[form.name])
    b = ScriptedNode(*chunked(*STREAMS[form.name]))
    config = {"streaming": {"continuation": True}}
    kinds = {"a": form.name, "b": form.name}
    async with fleet(tmp_path, {"a": a, "b": b}, kinds=kinds, plane=plane, config=config) as tried:
        a.mode("cut", after=3, **PACE)

        seen = read_stream(form, await continued(tried, form))

        assert (seen.text, seen.errors, seen.ended) == ("echo: one two three four", [], 1)
        assert "echo: one two" in json.dumps(json.loads(b.bodies[-1]))
        assert [attempt.kind for attempt in tried.last.attempts] == ["truncated", ""]
        figures = tried.node("b").state.records.values()
        assert figures
        assert all(record.first >= 0 for record in figures)
        await tried.settled()


@every_form
@every_plane
@pytest.mark.parametrize("status", [b"500 Oops", b"400 Bad Request", b"429 Too Many Requests", b"302 Found"])
async def test_a_refused_continuation_is_one_error_in_the_stream(
    status: bytes, form: Form, plane: str, tmp_path: Path
) -> None:
    """The client's answer has begun: a second status line in the middle of it would be a torn connection at best."""
    a = ModelServer(dialects=[form.name])
    b = ScriptedNode(whole(b'{"error":"no"}', status=status))
    config = {"streaming": {"continuation": True}, "retry": {"max_attempts": 2}}
    kinds = {"a": form.name, "b": form.name}
    async with fleet(tmp_path, {"a": a, "b": b}, kinds=kinds, plane=plane, config=config) as tried:
        a.mode("cut", after=3, **PACE)
        for _ in range(2):  # `b` itself may be asked first: then it is the end of that request
            answer = await tried.client.post(form.path, json=form.body(stream=True))
            if tried.last.attempts[0].node_id == "a":
                break

        assert b"HTTP/1.1" not in answer.content
        seen = read_stream(form, answer.content)
        assert seen.text == "echo: one two"
        assert seen.broken, seen
        await tried.settled()


@every_form
async def test_when_every_continuation_breaks_there_is_still_one_error(form: Form, tmp_path: Path) -> None:
    config = {"streaming": {"continuation": True, "max_continuations": 2}}
    nodes = {name: ModelServer(dialects=[form.name]) for name in "abcd"}
    async with fleet(tmp_path, nodes, kinds=dict.fromkeys(nodes, form.name), config=config) as tried:
        for node in nodes.values():
            node.mode("cut", after=3, **PACE)

        seen = await tried.stream(form)

        assert seen.broken, seen
        assert len(tried.last.attempts) == 3
        await tried.settled()


async def test_without_the_option_nothing_is_spliced(tmp_path: Path) -> None:
    async with fleet(tmp_path) as tried:
        for node in tried.nodes.values():
            node.mode("cut", after=3, **PACE)

        for form in (OPENAI, ANTHROPIC, OLLAMA):
            seen = await tried.stream(form)
            assert seen.broken
            assert len(tried.last.attempts) == 1


async def test_a_translated_stream_is_not_continued(tmp_path: Path) -> None:
    nodes = {name: ModelServer(dialects=["openai"]) for name in "ab"}
    config = {"streaming": {"continuation": True}}
    async with fleet(tmp_path, nodes, kinds={"a": "openai", "b": "openai"}, config=config) as tried:
        for node in nodes.values():
            node.mode("cut", after=3, **PACE)

        assert (await tried.stream(ANTHROPIC, text=SLOW)).broken
        assert len(tried.last.attempts) == 1
