"""Streams that break, hide, interleave or overflow: what the translator does with each."""

from __future__ import annotations

import json
from itertools import permutations, product
from typing import Any

import msgspec
import pytest
from dialect_clients import openai_client, see_stream
from dialect_samples import (
    ARGUMENTS,
    CHAT,
    CHAT_OF,
    COMPLETIONS,
    FEATURES,
    GENERATE,
    JSON_VALUES,
    MESSAGES,
    NOW,
    OCHAT,
    RESPONSES,
    answer_of,
    anthropic_stream,
    ollama_stream,
    openai_stream,
    replaced,
    request_of,
    spots,
    sse,
    stream_of,
    through,
)
from hypothesis import given
from hypothesis import strategies as st
from openai.types.completion_choice import Logprobs as CompletionLogprobs

from orchestrator.domain.dialects import TERMINAL, StreamTranslator
from orchestrator.domain.errors import MalformedAnswer, Truncated, UpstreamError, UpstreamStatus
from orchestrator.domain.node import Dialect

PAIRS = list(product(Dialect, Dialect))
ASK = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
BROKEN = {
    Dialect.OPENAI: b'data: {"error": {"message": "out of memory", "type": "server_error", "code": 500}}\n\n',
    Dialect.ANTHROPIC: b"event: error\n"
    b'data: {"type":"error","error":{"type":"overloaded_error","message":"out of memory"}}\n\n',
    Dialect.OLLAMA: b'{"error":"out of memory"}\n',
}


def opened(source: Dialect, target: Dialect, feature: str = "plain") -> StreamTranslator:
    return through(CHAT_OF[source], target, request_of(source, feature, stream=True)).stream()


def head(data: bytes) -> bytes:
    """A stream without its end marker's frame, and with it everything that says the answer is complete."""
    end = b"\n" if data.endswith(b"}\n") else b"\n\n"
    return end.join(data.rstrip(b"\n").split(end)[:-1]) + end


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_stream_without_its_end_is_truncated_and_never_looks_complete(source: Dialect, target: Dialect) -> None:
    stream = opened(source, target)
    out = stream.feed(head(stream_of(target, "plain")))
    with pytest.raises(Truncated):
        stream.finish()
    assert not stream.finished
    if source is not target:
        assert not any(marker in out + stream.pending for marker in TERMINAL[CHAT_OF[source].name])


@pytest.mark.parametrize("target", Dialect)
def test_a_cut_at_any_byte_is_a_truncation(target: Dialect) -> None:
    for feature in ("plain", "tools"):
        data = head(stream_of(target, feature))
        for cut in range(0, len(data), 5):
            stream = opened(Dialect.OPENAI, target, feature)
            stream.feed(data[:cut])
            with pytest.raises(Truncated):
                stream.finish()


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize(("source", "target"), list(permutations(Dialect, 2)))
@given(data=st.data())
def test_a_damaged_answer_is_malformed_or_readable(source: Dialect, target: Dialect, feature: str, data: Any) -> None:
    body = answer_of(target, feature)
    broken = replaced(body, data.draw(st.sampled_from(spots(body))), data.draw(JSON_VALUES))
    try:
        out = through(CHAT_OF[source], target, request_of(source, feature, stream=False)).response(broken)
    except MalformedAnswer:
        return
    assert isinstance(out, dict)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_an_error_inside_the_stream_keeps_what_came_before_it(source: Dialect, target: Dialect) -> None:
    stream = opened(source, target)
    with pytest.raises(UpstreamStatus, match="out of memory"):
        stream.feed(head(stream_of(target, "plain")) + BROKEN[target])
    if source is not target:
        assert b'"lo"' in stream.pending


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_bad_json_is_malformed(source: Dialect, target: Dialect) -> None:
    stream = opened(source, target)
    with pytest.raises(MalformedAnswer):
        stream.feed(b'{"a": \n' if target is Dialect.OLLAMA else b'data: {"a": \n\n')


@pytest.mark.parametrize("target", Dialect)
def test_an_endless_line_is_refused_without_keeping_it(target: Dialect) -> None:
    stream = opened(Dialect.OPENAI, target)
    piece = b"x" * (1 << 20)
    for _ in range(16):
        stream.feed(piece)
    with pytest.raises(MalformedAnswer, match="16777216"):
        stream.feed(piece)


def test_an_event_of_endless_lines_is_refused() -> None:
    stream = opened(Dialect.OLLAMA, Dialect.OPENAI)
    line = b"data: " + b"x" * (1 << 20) + b"\n"
    for _ in range(16):
        stream.feed(line)
    with pytest.raises(MalformedAnswer, match="16777216"):
        stream.feed(line)


@pytest.mark.parametrize(("source", "target"), list(permutations(Dialect, 2)))
@given(data=st.data())
def test_any_damage_is_an_upstream_error_or_nothing(source: Dialect, target: Dialect, data: Any) -> None:
    whole = stream_of(target, data.draw(st.sampled_from(FEATURES)))
    at = data.draw(st.integers(0, len(whole) - 1))
    junk = data.draw(st.sampled_from([b"", b"null", b"[]", b'"', b"0", b"\xff", b"{", b"\n", b"}", b"1e999"]))
    stream = opened(source, target)
    try:
        stream.feed(whole[:at] + junk + whole[at + data.draw(st.integers(0, 9)) :])
        stream.finish()
    except UpstreamError:
        pass


@pytest.mark.parametrize(
    "value", ["null", "[]", "3", '"x"', '{"choices": 3}', '{"choices": [{"delta": {"content": 4}}]}']
)
def test_json_of_the_wrong_shape_is_malformed(value: str) -> None:
    stream = opened(Dialect.ANTHROPIC, Dialect.OPENAI)
    with pytest.raises(MalformedAnswer):
        stream.feed(f"data: {value}\n\n".encode())


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_faster_json_gives_the_same(source: Dialect, target: Dialect) -> None:
    for feature in FEATURES:
        translation = through(CHAT_OF[source], target, request_of(source, feature, stream=True))
        data = stream_of(target, feature)
        plain, fast = translation.stream(), translation.stream(msgspec.json.decode, msgspec.json.encode)
        if source is not Dialect.OPENAI:  # whose client was asked for usage in the pairs' test
            assert see_stream(source, plain.feed(data)) == see_stream(source, fast.feed(data))
        else:
            assert _values(plain.feed(data)) == _values(fast.feed(data))


@pytest.mark.parametrize("target", Dialect)
def test_faster_json_fails_the_same(target: Dialect) -> None:
    stream = through(RESPONSES, target, {"model": "m", "input": "x"}).stream(msgspec.json.decode, msgspec.json.encode)
    with pytest.raises(MalformedAnswer):
        stream.feed(b"data: {\n\n{\n")


def _values(data: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in data.split(b"\n\n") if line.startswith(b"data: {")]


def test_crlf_comments_and_a_missing_last_blank_line() -> None:
    data = openai_stream("plain").replace(b"\n", b"\r\n").rstrip()
    stream = opened(Dialect.ANTHROPIC, Dialect.OPENAI)
    out = stream.feed(data) + stream.finish()
    assert see_stream(Dialect.ANTHROPIC, out).text == "Hé 🌧 llo"


def test_usage_shows_only_to_the_client_that_asked() -> None:
    body = {**ASK}
    translation = through(CHAT, Dialect.OLLAMA, body)
    assert b"usage" not in translation.stream().feed(ollama_stream("plain"))
    asked = through(CHAT, Dialect.OLLAMA, body | {"stream_options": {"include_usage": True}})
    last = _values(asked.stream().feed(ollama_stream("plain")))[-1]
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def _chunk(calls: list[dict[str, Any]], finish: str | None = None) -> bytes:
    return sse({"choices": [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": finish}]})


def two_calls() -> bytes:
    out = _chunk([{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x":'}}])
    out += _chunk([{"index": 0, "function": {"arguments": "1}"}}])
    out += _chunk([{"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}}])
    return out + _chunk([], "tool_calls") + b"data: [DONE]\n\n"


@pytest.mark.parametrize("source", [Dialect.ANTHROPIC, Dialect.OLLAMA])
def test_parallel_calls_and_one_without_arguments(source: Dialect) -> None:
    out = opened(source, Dialect.OPENAI).feed(two_calls())
    assert see_stream(source, out).calls == [("f", {"x": 1}), ("g", {})]


def test_whole_calls_without_index_or_id_get_both() -> None:
    calls = [{"function": {"name": "f", "arguments": '{"x":1}'}}, {"function": {"name": "g", "arguments": {"y": 2}}}]
    data = _chunk(calls, "tool_calls") + b"data: [DONE]\n\n"
    out = opened(Dialect.OLLAMA, Dialect.OPENAI).feed(data)
    line = json.loads(out.splitlines()[0])
    assert [call["id"] for call in line["message"]["tool_calls"]] == ["call_r1_0", "call_r1_1"]
    assert [call["function"]["arguments"] for call in line["message"]["tool_calls"]] == [{"x": 1}, {"y": 2}]


def test_arguments_that_interleave_or_do_not_parse_are_malformed() -> None:
    data = two_calls().replace(b"data: [DONE]", _chunk([{"index": 0, "function": {"arguments": "!"}}]))
    with pytest.raises(MalformedAnswer, match="at once"):
        opened(Dialect.ANTHROPIC, Dialect.OPENAI).feed(data)
    with pytest.raises(MalformedAnswer, match="JSON object"):
        opened(Dialect.OLLAMA, Dialect.OPENAI).feed(data + b"data: [DONE]\n\n")


def test_a_nodes_calls_without_ids_get_the_same_ids_whole_and_streamed() -> None:
    call = {"function": {"name": "f", "arguments": ARGUMENTS}}
    end = {"done": True, "done_reason": "stop"}
    whole = {"message": {"role": "assistant", "content": "", "tool_calls": [call]}} | end
    translation = through(CHAT, Dialect.OLLAMA, dict(ASK))
    answered = translation.response(whole)["choices"][0]
    assert answered["finish_reason"] == "tool_calls"
    streamed = _values(translation.stream().feed(json.dumps(whole).encode() + b"\n"))
    ids = [c["id"] for v in streamed for c in v["choices"][0]["delta"].get("tool_calls", ()) if "id" in c]
    assert ids == [answered["message"]["tool_calls"][0]["id"]] == ["call_r1_0"]


def test_json_answer_tool_streams_as_text() -> None:
    data = anthropic_stream("tools").replace(b'"weather"', b'"json_answer"')
    body = ASK | {"format": "json"}
    out = through(OCHAT, Dialect.ANTHROPIC, body).stream().feed(data)
    seen = see_stream(Dialect.OLLAMA, out)
    assert (json.loads(seen.text), seen.calls, seen.finish) == (ARGUMENTS, [], "stop")


@pytest.mark.parametrize(
    ("openai", "anthropic", "ollama"),
    [("length", "max_tokens", "length"), ("content_filter", "refusal", "stop"), ("stop", "end_turn", "stop")],
)
def test_finish_reasons(openai: str, anthropic: str, ollama: str) -> None:
    data = openai_stream("plain").replace(b'"finish_reason": "stop"', f'"finish_reason": "{openai}"'.encode())
    assert see_stream(Dialect.ANTHROPIC, opened(Dialect.ANTHROPIC, Dialect.OPENAI).feed(data)).finish == anthropic
    assert see_stream(Dialect.OLLAMA, opened(Dialect.OLLAMA, Dialect.OPENAI).feed(data)).finish == ollama
    back = anthropic_stream("plain").replace(b"end_turn", anthropic.encode())
    assert _values(opened(Dialect.OPENAI, Dialect.ANTHROPIC).feed(back))[-1]["choices"][0]["finish_reason"] == openai


def test_a_stop_string_is_named_where_the_dialect_can() -> None:
    data = openai_stream("plain").replace(b'"finish_reason": "stop"', b'"finish_reason": "stop", "stop_reason": "END"')
    out = through(MESSAGES, Dialect.OPENAI, dict(ASK)).stream().feed(data)
    assert b'"stop_reason":"stop_sequence","stop_sequence":"END"' in out


def test_logprobs_in_each_form() -> None:
    token = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": -2.0}]}
    line = {"message": {"role": "assistant", "content": "Hi"}, "logprobs": [token], "done": False}
    end = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    data = b"".join(json.dumps(value).encode() + b"\n" for value in (line, end))
    chat = _values(through(CHAT, Dialect.OLLAMA, ASK | {"logprobs": True}).stream().feed(data))
    assert chat[1]["choices"][0]["logprobs"]["content"] == [token]

    prompt = {"model": "m", "prompt": "x", "logprobs": 1, "stream": True}
    chunks = _values(through(COMPLETIONS, Dialect.OLLAMA, prompt).stream().feed(data))
    lists = CompletionLogprobs.model_validate(chunks[0]["choices"][0]["logprobs"], strict=True)
    assert (lists.tokens, lists.token_logprobs, lists.top_logprobs) == (["Hi"], [-0.5], [{"Ho": -2.0}])

    text = {"choices": [{"index": 0, "text": "Hi", "logprobs": chunks[0]["choices"][0]["logprobs"]}]}
    raw = through(GENERATE, Dialect.OPENAI, {"model": "m", "prompt": "x", "raw": True, "logprobs": True})
    out = json.loads(raw.stream().feed(sse(text)))
    assert (out["response"], out["logprobs"][0]["token"], out["logprobs"][0]["logprob"]) == ("Hi", "Hi", -0.5)


def test_generate_and_completions_stream_both_ways() -> None:
    turn = through(GENERATE, Dialect.ANTHROPIC, {"model": "m", "prompt": "x"})
    lines = [json.loads(line) for line in turn.stream().feed(anthropic_stream("reasoning")).splitlines()]
    assert "".join(line["response"] for line in lines) == "rain"
    assert "".join(line.get("thinking", "") for line in lines) == "hm, clouds"
    assert lines[-1]["done"] is True

    body = {"model": "m", "prompt": "x", "stream": True, "stream_options": {"include_usage": True}}
    raw = through(COMPLETIONS, Dialect.OLLAMA, body)
    out = raw.stream().feed(ollama_stream("plain"))
    chunks = list(openai_client(out).completions.create(model="m", prompt="x", stream=True))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "Hé 🌧 llo"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.total_tokens == 18


def test_ollama_durations_come_from_the_clock_or_the_node() -> None:
    ticks = iter([NOW + 1, NOW + 3])
    stream = through(OCHAT, Dialect.ANTHROPIC, dict(ASK)).stream(clock=lambda: next(ticks))
    last = json.loads(stream.feed(anthropic_stream("plain")).splitlines()[-1])
    assert (last["total_duration"], last["prompt_eval_duration"], last["eval_duration"]) == (
        3_000_000_000,
        1_000_000_000,
        2_000_000_000,
    )
    timed = sse({"choices": [], "timings": {"prompt_ms": 5, "predicted_ms": 7.5}}) + b"data: [DONE]\n\n"
    stream = through(OCHAT, Dialect.OPENAI, dict(ASK)).stream()
    last = json.loads(stream.feed(timed).splitlines()[-1])
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (5_000_000, 7_500_000)


def test_what_comes_after_the_end_is_ignored() -> None:
    stream = opened(Dialect.OLLAMA, Dialect.OPENAI)
    out = stream.feed(openai_stream("plain") + openai_stream("plain"))
    assert out.count(b'"done":true') == 1
    assert stream.feed(b"data: {oops\n\n") == b""
    assert stream.finish() == b""


def test_the_relay_of_one_endpoint_changes_no_byte_and_still_watches() -> None:
    data = openai_stream("plain")
    stream = opened(Dialect.OPENAI, Dialect.OPENAI)
    assert b"".join(stream.feed(data[i : i + 7]) for i in range(0, len(data), 7)) == data
    assert stream.finished
    assert stream.usage is not None
    assert stream.usage.cached_tokens == 4


def test_a_node_of_responses_can_be_watched() -> None:
    made = through(RESPONSES, Dialect.OLLAMA, {"model": "m", "input": "x", "stream": True})
    assert TERMINAL[RESPONSES.name][0] in made.stream().feed(ollama_stream("plain"))


def test_the_relay_lets_pass_what_no_other_dialect_has() -> None:
    def delta(index: int, **fields: Any) -> bytes:
        return sse({"choices": [{"index": index, "delta": fields}]})

    custom = [{"index": 0, "type": "custom", "id": "c", "custom": {"name": "sh", "input": ""}}]
    data = delta(0, tool_calls=custom) + delta(1, content="other") + delta(0, content="mine") + b"data: [DONE]\n\n"
    stream = opened(Dialect.OPENAI, Dialect.OPENAI)
    assert stream.feed(data) == data
    assert (stream.finished, stream.text_len) == (True, 4)

    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    data = b"".join(sse(value, value["type"]) for value in (start, event, {"type": "message_stop"}))
    stream = opened(Dialect.ANTHROPIC, Dialect.ANTHROPIC)
    assert stream.feed(data) == data
    assert stream.finished
