"""Parameters of requests: none that the target has is lost, and what changes the answer is refused by name."""

from __future__ import annotations

import string
from itertools import permutations
from typing import Any

import pytest
from dialect_samples import (
    CHAT,
    CHAT_OF,
    COMPLETIONS,
    GENERATE,
    JSON_VALUES,
    MESSAGES,
    NOW,
    OCHAT,
    RESPONSES,
    SCHEMA,
    replaced,
    request_of,
    spots,
    through,
)
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.dialects import ENDPOINTS, translate
from orchestrator.domain.errors import InvalidRequest, RequestError, Unsupported
from orchestrator.domain.node import Dialect

floats = st.floats(0.01, 2, allow_nan=False)
counts = st.integers(1, 10_000)
words = st.lists(st.text(string.ascii_letters, min_size=1, max_size=5), min_size=1, max_size=4)
# The documented words of each dialect, written here again so that a slip in the tables of the code is seen.
WIRE: dict[str, tuple[Any, dict[Dialect, str]]] = {
    "temperature": (floats, {Dialect.OPENAI: "temperature", Dialect.ANTHROPIC: "temperature", Dialect.OLLAMA: "o"}),
    "top_p": (floats, {Dialect.OPENAI: "top_p", Dialect.ANTHROPIC: "top_p", Dialect.OLLAMA: "o"}),
    "top_k": (counts, {Dialect.OPENAI: "top_k", Dialect.ANTHROPIC: "top_k", Dialect.OLLAMA: "o"}),
    "min_p": (floats, {Dialect.OPENAI: "min_p", Dialect.OLLAMA: "o"}),
    "typical_p": (floats, {Dialect.OPENAI: "typical_p", Dialect.OLLAMA: "o"}),
    "seed": (counts, {Dialect.OPENAI: "seed", Dialect.OLLAMA: "o"}),
    "presence_penalty": (floats, {Dialect.OPENAI: "presence_penalty", Dialect.OLLAMA: "o"}),
    "frequency_penalty": (floats, {Dialect.OPENAI: "frequency_penalty", Dialect.OLLAMA: "o"}),
    "repeat_penalty": (floats, {Dialect.OPENAI: "repeat_penalty", Dialect.OLLAMA: "o"}),
    "repeat_last_n": (counts, {Dialect.OPENAI: "repeat_last_n", Dialect.OLLAMA: "o"}),
    "mirostat": (st.integers(1, 2), {Dialect.OPENAI: "mirostat", Dialect.OLLAMA: "o"}),
    "mirostat_tau": (floats, {Dialect.OPENAI: "mirostat_tau", Dialect.OLLAMA: "o"}),
    "mirostat_eta": (floats, {Dialect.OPENAI: "mirostat_eta", Dialect.OLLAMA: "o"}),
    "stop": (words, {Dialect.OPENAI: "stop", Dialect.ANTHROPIC: "stop_sequences", Dialect.OLLAMA: "o"}),
    "num_predict": (counts, {Dialect.OPENAI: "max_tokens", Dialect.ANTHROPIC: "max_tokens", Dialect.OLLAMA: "o"}),
}


def put(body: dict[str, Any], dialect: Dialect, name: str, value: Any) -> None:
    wire = WIRE[name][1][dialect]
    if wire == "o":
        body.setdefault("options", {})[name] = value
    else:
        body[wire] = value


def get(body: dict[str, Any], dialect: Dialect, name: str) -> Any:
    wire = WIRE[name][1][dialect]
    return body["options"][name] if wire == "o" else body[wire]


@pytest.mark.parametrize(("source", "target"), list(permutations(Dialect, 2)))
@given(data=st.data())
def test_no_sampling_parameter_that_the_target_has_is_lost(source: Dialect, target: Dialect, data: Any) -> None:
    mine = sorted(name for name, (_, wires) in WIRE.items() if source in wires)
    chosen = data.draw(st.lists(st.sampled_from(mine), unique=True))
    values = {name: data.draw(WIRE[name][0]) for name in chosen}
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    for name, value in values.items():
        put(body, source, name, value)

    translation = through(CHAT_OF[source], target, body)
    out = translation.request()

    for name, value in values.items():
        if target in WIRE[name][1]:
            assert get(out, target, name) == value
        else:
            assert name in translation.dropped


def test_openai_spellings_meet() -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "stop": "END",
        "max_tokens": 5,
        "max_completion_tokens": 9,
        "repetition_penalty": 1.2,
        "logprobs": True,
        "top_logprobs": 3,
        "options": {"num_ctx": 4096, "top_k": 7},
        "keep_alive": "5m",
    }
    out = through(CHAT, Dialect.OLLAMA, body).request()
    assert out["options"] == {"num_ctx": 4096, "top_k": 7, "stop": ["END"], "num_predict": 9, "repeat_penalty": 1.2}
    assert (out["logprobs"], out["top_logprobs"], out["keep_alive"]) == (True, 3, "5m")


def test_ollama_asks_both_kinds_of_openai_server_for_its_repeat_penalty() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "options": {"repeat_penalty": 1.1}}
    out = through(OCHAT, Dialect.OPENAI, body).request()
    assert (out["repeat_penalty"], out["repetition_penalty"]) == (1.1, 1.1)


@pytest.mark.parametrize("unlimited", [-1, -2])
def test_unlimited_is_said_by_silence(unlimited: int) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "options": {"num_predict": unlimited}}
    assert "max_tokens" not in through(OCHAT, Dialect.OPENAI, body).request()
    assert through(OCHAT, Dialect.ANTHROPIC, body).request()["max_tokens"] == 8192


def test_options_that_only_ollama_has_are_reported() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "options": {"num_ctx": 1}, "keep_alive": 0}
    translation = through(OCHAT, Dialect.OPENAI, body)
    translation.request()
    assert set(translation.dropped) == {"options.num_ctx", "keep_alive"}


@pytest.mark.parametrize(
    ("path", "target", "change", "field"),
    [
        ("/v1/chat/completions", Dialect.OLLAMA, {"n": 2}, "n"),
        ("/v1/chat/completions", Dialect.ANTHROPIC, {"n": 2}, "n"),
        ("/v1/chat/completions", Dialect.ANTHROPIC, {"logprobs": True}, "logprobs"),
        ("/v1/chat/completions", Dialect.OLLAMA, {"logit_bias": {"1": 2}}, "logit_bias"),
        ("/v1/chat/completions", Dialect.ANTHROPIC, {"logit_bias": {"1": 2}}, "logit_bias"),
        ("/v1/chat/completions", Dialect.OLLAMA, {"functions": [{}]}, "functions"),
        ("/v1/chat/completions", Dialect.OLLAMA, {"audio": {"voice": "x"}}, "audio"),
        ("/v1/chat/completions", Dialect.OLLAMA, {"tools": [{"type": "custom"}]}, "tools[0].type"),
        (
            "/v1/chat/completions",
            Dialect.OLLAMA,
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            "/v1/chat/completions",
            Dialect.OLLAMA,
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0].type",
        ),
        ("/v1/messages", Dialect.OPENAI, {"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        (
            "/v1/messages",
            Dialect.OLLAMA,
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}
                ]
            },
            "messages[0].content[0].source.url",
        ),
        ("/v1/messages", Dialect.OPENAI, {"container": "c"}, "container"),
        ("/api/chat", Dialect.OPENAI, {"messages": []}, "messages"),
        ("/api/generate", Dialect.OPENAI, {"prompt": "x", "context": [1]}, "context"),
        ("/api/generate", Dialect.OPENAI, {"prompt": "x", "template": "t"}, "template"),
        ("/api/generate", Dialect.OPENAI, {"prompt": "x", "raw": True, "images": ["aGk="]}, "images"),
        ("/api/generate", Dialect.ANTHROPIC, {"prompt": "x", "raw": True}, "raw"),
        ("/v1/completions", Dialect.ANTHROPIC, {"prompt": "x", "suffix": "y"}, "suffix"),
        ("/v1/completions", Dialect.OLLAMA, {"prompt": "x", "echo": True}, "echo"),
        ("/v1/completions", Dialect.OLLAMA, {"prompt": ["x", "y"]}, "prompt"),
        ("/v1/completions", Dialect.OLLAMA, {"prompt": [1, 2]}, "prompt"),
        ("/v1/completions", Dialect.OLLAMA, {"prompt": "x", "best_of": 2}, "best_of"),
        ("/v1/responses", Dialect.OPENAI, {"input": "x", "previous_response_id": "r"}, "previous_response_id"),
        ("/v1/responses", Dialect.OLLAMA, {"input": "x", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ("/v1/embeddings", Dialect.OLLAMA, {"input": [1, 2]}, "input"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(
    path: str, target: Dialect, change: dict[str, Any], field: str
) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]} | change
    with pytest.raises(Unsupported) as refused:
        through(ENDPOINTS[path], target, body).request()
    assert refused.value.details["param"] == field
    assert field in refused.value.message


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("/v1/chat/completions", {"messages": "hi"}, "messages"),
        ("/v1/chat/completions", {"messages": ["hi"]}, "messages[0]"),
        ("/v1/chat/completions", {"messages": [{"role": "alien", "content": "x"}]}, "messages[0].role"),
        ("/v1/chat/completions", {"stop": 3}, "stop"),
        ("/v1/chat/completions", {"tools": {}, "tool_choice": "sometimes"}, "tool_choice"),
        ("/v1/chat/completions", {"response_format": {"type": "xml"}}, "response_format.type"),
        ("/v1/chat/completions", {"reasoning_effort": "extreme"}, "reasoning_effort"),
        ("/v1/messages", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ("/v1/messages", {"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ("/v1/messages", {"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
        ("/api/chat", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ("/api/chat", {"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content"),
        ("/api/chat", {"format": "xml"}, "format"),
        ("/v1/responses", {"input": [{"role": "alien", "content": "x"}]}, "input[0].role"),
    ],
)
def test_what_is_wrong_is_refused_by_name(path: str, change: dict[str, Any], field: str) -> None:
    source = ENDPOINTS[path]
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]} | change
    target = Dialect.OLLAMA if source.dialect is not Dialect.OLLAMA else Dialect.OPENAI
    with pytest.raises(InvalidRequest) as refused:
        through(source, target, body).request()
    assert refused.value.details["param"] == field


def test_bad_tool_arguments_are_the_clients_fault_and_named() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{oops"}}
    body = {"model": "m", "messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
    for target in (Dialect.ANTHROPIC, Dialect.OLLAMA):
        with pytest.raises(InvalidRequest, match=r"messages\[0\].tool_calls\[0\].function.arguments"):
            through(CHAT, target, body).request()


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed", "/api/embeddings"])
def test_anthropic_has_no_embeddings(path: str) -> None:
    with pytest.raises(Unsupported):
        through(ENDPOINTS[path], Dialect.ANTHROPIC, {"model": "m", "input": "x", "prompt": "x"})


@pytest.mark.parametrize("target", [Dialect.OPENAI, Dialect.OLLAMA])
def test_tokens_are_counted_at_home_only(target: Dialect) -> None:
    count = ENDPOINTS["/v1/messages/count_tokens"]
    with pytest.raises(Unsupported):
        through(count, target, {"model": "m", "messages": []})
    assert through(count, Dialect.ANTHROPIC, {"model": "m", "messages": []}).request() == {"model": "m", "messages": []}


@pytest.mark.parametrize("feature", ["tools", "images", "json", "reasoning"])
@pytest.mark.parametrize(("source", "target"), list(permutations(Dialect, 2)))
@given(data=st.data())
def test_a_wrong_shape_is_never_more_than_a_refusal(source: Dialect, target: Dialect, feature: str, data: Any) -> None:
    body = request_of(source, feature, stream=False)
    spot = data.draw(st.sampled_from(spots(body)))
    broken = replaced(body, spot, data.draw(JSON_VALUES))
    try:
        out = through(CHAT_OF[source], target, broken).request()
    except RequestError:
        return
    assert isinstance(out, dict)


def test_json_without_a_schema_becomes_a_tool_where_there_is_no_such_mode() -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "response_format": {"type": "json_object"},
    }
    assert through(CHAT, Dialect.OLLAMA, body).request()["format"] == "json"
    translation = through(CHAT, Dialect.ANTHROPIC, body)
    out = translation.request()
    assert out["tool_choice"] == {"type": "tool", "name": "json_answer"}
    answer = {
        "content": [{"type": "tool_use", "id": "t", "name": "json_answer", "input": {"a": 1}}],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    choice = translation.response(answer)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ('{"a":1}', "stop")
    assert "tool_calls" not in choice["message"]

    function = {"name": "weather", "parameters": SCHEMA}
    with_tools = body | {"tools": [{"type": "function", "function": function}]}
    out = through(CHAT, Dialect.ANTHROPIC, with_tools).request()
    assert [tool["name"] for tool in out["tools"]] == ["weather", "json_answer"]
    assert out["tool_choice"] == {"type": "any"}


def test_reasoning_words_and_budgets() -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    assert through(CHAT, Dialect.OLLAMA, chat | {"reasoning_effort": "none"}).request()["think"] is False
    assert through(OCHAT, Dialect.OPENAI, chat | {"think": False}).request()["reasoning_effort"] == "none"
    off = through(OCHAT, Dialect.ANTHROPIC, chat | {"think": False}).request()
    assert off["thinking"] == {"type": "disabled"}
    high = through(OCHAT, Dialect.ANTHROPIC, chat | {"think": "high"}).request()
    assert high["thinking"] == {"type": "enabled", "budget_tokens": 16384}
    assert high["max_tokens"] > 16384
    tight = through(CHAT, Dialect.ANTHROPIC, chat | {"reasoning_effort": "high", "max_tokens": 2000}).request()
    assert tight["thinking"]["budget_tokens"] < tight["max_tokens"] == 2000
    adaptive = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}, "max_tokens": 9}
    assert through(MESSAGES, Dialect.OPENAI, chat | adaptive).request()["reasoning_effort"] == "xhigh"
    assert through(MESSAGES, Dialect.OLLAMA, chat | adaptive).request()["think"] == "high"
    switch = {"chat_template_kwargs": {"enable_thinking": False}}
    assert through(CHAT, Dialect.OLLAMA, chat | switch).request()["think"] is False


def test_no_reasoning_is_asked_for_where_anthropic_would_refuse_the_turn() -> None:
    body = request_of(Dialect.OPENAI, "tools", stream=False) | {"reasoning_effort": "high"}
    translation = through(CHAT, Dialect.ANTHROPIC, body)
    assert "thinking" not in translation.request()
    assert "reasoning" in translation.dropped


@pytest.mark.parametrize(
    ("choice", "anthropic", "ollama_tools"),
    [
        ("none", {"type": "none"}, []),
        ("required", {"type": "any"}, ["a", "b"]),
        ({"type": "function", "function": {"name": "b"}}, {"type": "tool", "name": "b"}, ["b"]),
    ],
)
def test_tool_choice(choice: Any, anthropic: Any, ollama_tools: list[str]) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": tools, "tool_choice": choice}
    assert through(CHAT, Dialect.ANTHROPIC, body).request()["tool_choice"] == anthropic
    out = through(CHAT, Dialect.OLLAMA, body).request()
    assert [tool["function"]["name"] for tool in out.get("tools", [])] == ollama_tools
    back = {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"name": name, "input_schema": SCHEMA} for name in "ab"],
        "tool_choice": {**anthropic, "disable_parallel_tool_use": True},
    }
    out = through(MESSAGES, Dialect.OPENAI, back).request()
    assert (out["tool_choice"], out["parallel_tool_calls"]) == (choice, False)


def test_generate_is_a_chat_turn_unless_raw() -> None:
    body = {"model": "m", "prompt": "hi", "system": "s", "images": ["iVBORw0KGgo="], "options": {"seed": 1}}
    translation = through(GENERATE, Dialect.OPENAI, body)
    assert translation.target is CHAT
    out = translation.request()
    assert [message["role"] for message in out["messages"]] == ["system", "user"]
    assert out["messages"][1]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert (out["seed"], out["stream"]) == (1, True)

    raw = through(GENERATE, Dialect.OPENAI, {"model": "m", "prompt": "hi", "raw": True, "stream": False})
    assert raw.target is COMPLETIONS
    assert raw.request() == {"model": "m", "prompt": "hi"}
    fill = through(GENERATE, Dialect.OPENAI, {"model": "m", "prompt": "a", "suffix": "b", "stream": False})
    assert fill.request() == {"model": "m", "prompt": "a", "suffix": "b"}


def test_completions_are_raw_on_ollama_and_a_turn_on_anthropic() -> None:
    body = {"model": "m", "prompt": "hi", "logprobs": 2, "max_tokens": 4}
    translation = through(COMPLETIONS, Dialect.OLLAMA, body)
    assert translation.target is GENERATE
    out = translation.request()
    assert (out["prompt"], out["raw"], out["stream"]) == ("hi", True, False)
    assert (out["logprobs"], out["top_logprobs"], out["options"]) == (True, 2, {"num_predict": 4})
    fill = through(COMPLETIONS, Dialect.OLLAMA, {"model": "m", "prompt": ["a"], "suffix": "b"}).request()
    assert (fill["prompt"], fill["suffix"]) == ("a", "b")
    assert "raw" not in fill
    turn = through(COMPLETIONS, Dialect.ANTHROPIC, {"model": "m", "prompt": "hi"})
    assert turn.target is MESSAGES
    assert turn.request()["messages"] == [{"role": "user", "content": "hi"}]


def test_the_same_endpoint_passes_everything_untouched() -> None:
    body = {"model": "m", "messages": [], "whatever": {"x": 1}}
    for source in ENDPOINTS.values():
        if source is RESPONSES:
            continue
        translation = translate(source, source.dialect, body, model="a", request_id="r", now=NOW)
        assert translation.request() == body
        assert translation.response({"raw": 1}) == {"raw": 1}
