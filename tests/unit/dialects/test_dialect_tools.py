"""Conversations with tools: ids, order, images in results, and turns that a dialect joins or splits."""

from __future__ import annotations

from typing import Any

from dialect_samples import CHAT, MESSAGES, OCHAT, PNG, through

from orchestrator.domain.node import Dialect

USER = {"role": "user", "content": "x"}


def _call(name: str, **fields: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {}}} | fields


def _sent(messages: list[dict[str, Any]], target: Dialect) -> list[dict[str, Any]]:
    return through(OCHAT, target, {"model": "m", "messages": messages}).request()["messages"]


def test_results_without_ids_find_their_calls() -> None:
    messages = [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [_call("a"), _call("b"), _call("a")]},
        {"role": "tool", "tool_name": "b", "content": "of b"},
        {"role": "tool", "tool_name": "a", "content": "of the first a"},
        {"role": "tool", "content": "of the second a"},
    ]
    sent = _sent(messages, Dialect.OPENAI)
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["call_1_0", "call_1_1", "call_1_2"]
    assert [(m["tool_call_id"], m["content"]) for m in sent[2:]] == [
        ("call_1_1", "of b"),
        ("call_1_0", "of the first a"),
        ("call_1_2", "of the second a"),
    ]
    longer = _sent([*messages, {"role": "assistant", "content": "done"}, USER], Dialect.OPENAI)
    assert longer[: len(sent)] == sent


def test_ids_that_newer_clients_send_are_kept() -> None:
    messages = [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [_call("a", id="k1"), _call("a", id="k2")]},
        {"role": "tool", "tool_call_id": "k2", "content": "2"},
        {"role": "tool", "tool_call_id": "k1", "content": "1"},
    ]
    assert [m["tool_call_id"] for m in _sent(messages, Dialect.OPENAI)[2:]] == ["k2", "k1"]


def test_parallel_results_share_one_anthropic_turn_with_what_the_user_adds() -> None:
    calls = [
        {"id": f"c{i}", "type": "function", "function": {"name": "f", "arguments": f'{{"i":{i}}}'}} for i in (1, 2)
    ]
    messages = [
        {"role": "system", "content": "a"},
        USER,
        {"role": "assistant", "content": "calling", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "go on"},
        {"role": "system", "content": "b"},
    ]
    out = through(CHAT, Dialect.ANTHROPIC, {"model": "m", "messages": messages}).request()
    assert out["system"] == "a\n\nb"
    assert [message["role"] for message in out["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in out["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]
    assert [block["type"] for block in out["messages"][2]["content"]] == ["tool_result", "tool_result", "text"]
    assert out["messages"][2]["content"][1]["content"] == "two"


def test_an_anthropic_turn_of_results_splits_into_messages() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    picture = {"type": "image", "source": source}
    content = [{"type": "text", "text": "seen"}, picture]
    messages = [
        USER,
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "look"},
            {"type": "tool_use", "id": "t1", "name": "shot", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": content, "is_error": False},
            {"type": "text", "text": "and?"},
        ]},
    ]  # fmt: skip
    body = {"model": "m", "max_tokens": 5, "messages": messages}
    openai = through(MESSAGES, Dialect.OPENAI, body).request()["messages"]
    assert [message["role"] for message in openai] == ["user", "assistant", "tool", "user", "user"]
    assert (openai[1]["content"], openai[1]["reasoning_content"]) == ("look", "hm")
    assert (openai[2]["tool_call_id"], openai[2]["content"]) == ("t1", "seen")
    assert openai[3]["content"][0]["image_url"]["url"] == f"data:image/png;base64,{PNG}"
    assert openai[4]["content"] == "and?"

    ollama = through(MESSAGES, Dialect.OLLAMA, body).request()["messages"]
    assert [message["role"] for message in ollama] == ["user", "assistant", "tool", "user"]
    assert ollama[1]["thinking"] == "hm"
    assert (ollama[2]["tool_name"], ollama[2]["content"], ollama[2]["images"]) == ("shot", "seen", [PNG])


def test_reasoning_without_a_signature_is_left_out_for_anthropic() -> None:
    messages = [USER, {"role": "assistant", "content": "y", "thinking": "hm"}, USER]
    assert _sent(messages, Dialect.ANTHROPIC)[1] == {"role": "assistant", "content": [{"type": "text", "text": "y"}]}
    assert _sent(messages, Dialect.OPENAI)[1] == {"role": "assistant", "content": "y", "reasoning_content": "hm"}


def test_web_images_pass_where_they_can() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png", "detail": "low"}}
    body = {"model": "m", "messages": [{"role": "user", "content": [picture]}]}
    block = through(CHAT, Dialect.ANTHROPIC, body).request()["messages"][0]["content"][0]
    assert block == {"type": "image", "source": {"type": "url", "url": "https://example.org/cat.png"}}


def test_bare_base64_gets_its_media_type_from_the_data() -> None:
    for data, media_type in (("/9j/4AAQ", "image/jpeg"), ("R0lGODlh", "image/gif"), ("UklGRh4A", "image/webp")):
        sent = _sent([{"role": "user", "content": "x", "images": [data]}], Dialect.ANTHROPIC)
        assert sent[0]["content"][1]["source"]["media_type"] == media_type


def test_a_failed_tool_is_said_where_the_dialect_can() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "boom", "is_error": True}
    body = {"model": "m", "max_tokens": 5, "messages": [USER, {"role": "user", "content": [result]}]}
    assert through(MESSAGES, Dialect.OPENAI, body).request()["messages"][1]["content"] == "boom"


def test_a_text_document_becomes_text() -> None:
    document = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "D"}}
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [document]}]}
    assert through(MESSAGES, Dialect.OLLAMA, body).request()["messages"] == [{"role": "user", "content": "T\n\nD"}]
