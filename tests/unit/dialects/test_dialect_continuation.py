"""Going on after a broken stream, required fields, and the smaller parts."""

from __future__ import annotations

from typing import Any

import pytest
from dialect_samples import (
    CHAT,
    CHAT_OF,
    COMPLETIONS,
    FEATURES,
    GENERATE,
    MESSAGES,
    OCHAT,
    RESPONSES,
    TEXT,
    ollama_stream,
    openai_stream,
    stream_of,
    through,
)

from orchestrator.domain.dialects import (
    ENDPOINTS,
    TERMINAL,
    StreamText,
    continuation,
    is_load,
    required_fields,
    usage_of,
)
from orchestrator.domain.dialects.usage import Usage
from orchestrator.domain.errors import InvalidRequest, MalformedAnswer
from orchestrator.domain.node import Dialect

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("dialect", Dialect)
def test_the_text_so_far(dialect: Dialect, feature: str) -> None:
    watched = StreamText(CHAT_OF[dialect])
    data = stream_of(dialect, feature)
    half = len(data) * 2 // 3
    watched.feed(data[:half])
    assert watched.continuable is (feature not in ("tools", "reasoning"))
    assert TEXT[feature].startswith(watched.text)
    watched.feed(data[half:])
    assert watched.text == TEXT[feature]
    assert watched.finished
    assert not watched.continuable
    assert watched.usage is not None
    assert watched.pieces == -(-len(TEXT[feature]) // 3)


def test_a_stream_that_cannot_be_read_is_not_continued() -> None:
    watched = StreamText(CHAT)
    watched.feed(openai_stream("plain")[:600])
    watched.feed(b"data: {oops\n\n")
    watched.feed(b"data: [DONE]\n\n")
    assert not watched.continuable
    assert not watched.finished


def test_the_text_of_responses_and_completions() -> None:
    made = through(RESPONSES, Dialect.OLLAMA, {"model": "m", "input": "x", "stream": True})
    watched = StreamText(RESPONSES)
    watched.feed(made.stream().feed(ollama_stream("plain")))
    assert (watched.text, watched.finished, watched.usage) == (TEXT["plain"], True, Usage(11, 7))
    raw = through(COMPLETIONS, Dialect.OLLAMA, {"model": "m", "prompt": "x", "stream": True})
    watched = StreamText(COMPLETIONS)
    watched.feed(raw.stream().feed(ollama_stream("plain")))
    assert (watched.text, watched.finished) == (TEXT["plain"], True)


def test_the_answer_so_far_becomes_the_last_turn() -> None:
    turn = {"role": "assistant", "content": "so far "}
    openai = continuation(CHAT, ASK | {"max_tokens": 10}, "so far ", tokens=4)
    assert openai is not None
    assert openai["messages"][-1] == turn
    assert (openai["continue_final_message"], openai["add_generation_prompt"], openai["max_tokens"]) == (True, False, 6)
    ollama = continuation(OCHAT, ASK | {"options": {"num_predict": 10}}, "so far ", tokens=4)
    assert ollama is not None
    assert (ollama["messages"][-1], ollama["options"]) == (turn, {"num_predict": 6})
    anthropic = continuation(MESSAGES, ASK | {"max_tokens": 10}, "so far ")
    assert anthropic is not None
    assert anthropic["messages"][-1] == {"role": "assistant", "content": "so far"}
    assert ASK == {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def test_a_prefilled_turn_grows() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "a"}]}
    grown = continuation(OCHAT, body, "b")
    assert grown is not None
    assert grown["messages"][1:] == [{"role": "assistant", "content": "ab"}]


def test_a_prompt_grows() -> None:
    assert continuation(COMPLETIONS, {"prompt": "a"}, "b") == {"prompt": "ab"}
    assert continuation(GENERATE, {"prompt": "a"}, "b") == {"prompt": "ab", "raw": True}


def test_nothing_said_is_the_same_request() -> None:
    assert continuation(CHAT, ASK, "") == ASK


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", ASK | {"n": 2}),
        ("/v1/chat/completions", ASK | {"reasoning_effort": "low"}),
        ("/v1/chat/completions", ASK | {"tool_choice": "required"}),
        ("/v1/chat/completions", ASK | {"response_format": {"type": "json_object"}}),
        ("/v1/chat/completions", ASK | {"max_tokens": 3}),
        ("/v1/chat/completions", {"messages": [{"role": "assistant", "content": None, "tool_calls": [{}]}]}),
        ("/v1/messages", ASK | {"thinking": {"type": "enabled"}}),
        ("/v1/messages", ASK | {"tool_choice": {"type": "any"}}),
        ("/v1/messages", ASK | {"output_config": {"format": {"type": "json_schema"}}}),
        ("/api/chat", ASK | {"think": True}),
        ("/api/chat", ASK | {"format": "json"}),
        ("/api/chat", ASK | {"options": {"num_predict": 3}}),
        ("/api/generate", {"prompt": "a", "system": "s"}),
        ("/v1/completions", {"prompt": ["a", "b"]}),
        ("/v1/completions", {"prompt": "a", "echo": True}),
        ("/v1/responses", {"input": "x"}),
    ],
)  # fmt: skip
def test_what_cannot_be_continued(path: str, body: dict[str, Any]) -> None:
    assert continuation(ENDPOINTS[path], body, "text", tokens=5) is None


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": [{}]}, "model"),
        ("/v1/chat/completions", {"model": "m"}, "messages"),
        ("/v1/chat/completions", {"model": "m", "messages": []}, "messages"),
        ("/v1/completions", {"model": "m"}, "prompt"),
        ("/v1/embeddings", {"model": "m"}, "input"),
        ("/v1/responses", {"model": "m"}, "input"),
        ("/v1/messages", {"model": "m", "messages": [{}]}, "max_tokens"),
        ("/v1/messages/count_tokens", {"model": "m"}, "messages"),
        ("/api/generate", {"prompt": "x"}, "model"),
        ("/api/generate", {"model": "m"}, "prompt"),
        ("/api/chat", {"model": "m"}, "messages"),
        ("/api/chat", {"model": 3, "messages": []}, "model"),
        ("/api/embed", {"model": "m"}, "input"),
        ("/api/embeddings", {"model": "m", "prompt": ""}, "prompt"),
    ],
)
def test_a_missing_field_is_named(path: str, body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        required_fields(ENDPOINTS[path], body)
    assert refused.value.details == {"param": param, "code": "missing_required_parameter"}
    assert param in refused.value.message


def test_ollamas_words_for_a_missing_model() -> None:
    with pytest.raises(InvalidRequest, match=r"^model is required$"):
        required_fields(GENERATE, {"prompt": "x"})
    with pytest.raises(InvalidRequest, match=r"^model and prompt are required$"):
        required_fields(ENDPOINTS["/api/embeddings"], {"prompt": "x"})


@pytest.mark.parametrize(
    ("path", "body", "loads"),
    [
        ("/api/generate", {"model": "m", "prompt": "", "keep_alive": 0}, True),
        ("/api/generate", {"model": "m", "keep_alive": -1}, True),
        ("/api/generate", {"model": "m", "prompt": "x"}, False),
        ("/api/chat", {"model": "m", "messages": []}, True),
        ("/api/chat", {"model": "m", "keep_alive": 0}, True),
        ("/api/chat", ASK, False),
        ("/api/embed", {"model": "m", "prompt": "x"}, False),
        ("/v1/chat/completions", ASK, False),
    ],
)
def test_ollama_loads_with_an_empty_request(path: str, body: dict[str, Any], loads: bool) -> None:
    required_fields(ENDPOINTS[path], body)
    assert is_load(ENDPOINTS[path], body) is loads


def test_messages_of_another_type_are_named() -> None:
    with pytest.raises(InvalidRequest, match="messages"):
        required_fields(CHAT, {"model": "m", "messages": "x"})
    posted: Any = []
    with pytest.raises(InvalidRequest):
        required_fields(CHAT, posted)


def test_the_table_of_endpoints() -> None:
    assert {path for path, endpoint in ENDPOINTS.items() if endpoint.stream_default} == {"/api/generate", "/api/chat"}
    assert {e.name for e in ENDPOINTS.values() if e.streams} == set(TERMINAL)
    for endpoint in CHAT_OF.values():
        assert any(marker in stream_of(endpoint.dialect, "plain") for marker in TERMINAL[endpoint.name])


def test_usage_in_every_form() -> None:
    openai = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert usage_of(CHAT, {"usage": openai}) == Usage(9, 4, 3, 2)
    anthropic = {
        "input_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 1,
        "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    assert usage_of(MESSAGES, {"usage": anthropic}) == Usage(9, 4, 3, 2)
    responses = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    assert usage_of(RESPONSES, {"usage": responses}) == Usage(9, 4, 3, 2)
    assert usage_of(OCHAT, {"prompt_eval_count": 9, "eval_count": 4}) == Usage(9, 4)
    assert usage_of(CHAT, {"usage": None}) is None
    assert usage_of(OCHAT, {}) is None


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": 3}]}, [], None])
def test_an_answer_of_the_wrong_shape_is_malformed(body: Any) -> None:
    for source in (MESSAGES, OCHAT, GENERATE, RESPONSES):
        with pytest.raises(MalformedAnswer):
            through(source, Dialect.OPENAI, ASK | {"input": "x", "prompt": "x"}).response(body)


def test_bad_arguments_of_a_nodes_call_are_malformed() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{oops"}}
    body = {"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    for source in (MESSAGES, OCHAT):
        with pytest.raises(MalformedAnswer):
            through(source, Dialect.OPENAI, dict(ASK)).response(body)
