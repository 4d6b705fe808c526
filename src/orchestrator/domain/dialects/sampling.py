"""Sampling parameters: one canonical name each, and what each dialect calls them.

The canonical names are Ollama's option names except `max_tokens` (`num_predict`). Values are never changed: a value
that one server refuses is that server's answer to give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest

# Names that mean the same in every dialect that has them.
_COMMON = ("temperature", "top_p", "top_k")
_LOCAL = (
    "min_p",
    "typical_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repeat_penalty",
    "repeat_last_n",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
)

# Wire name -> canonical name. `repetition_penalty` is vLLM's word, `repeat_penalty` llama.cpp's and LM Studio's.
OPENAI: Mapping[str, str] = {name: name for name in (*_COMMON, *_LOCAL)} | {
    "repetition_penalty": "repeat_penalty",
    "stop": "stop",
    "max_tokens": "max_tokens",
    "logit_bias": "logit_bias",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
}
RESPONSES: Mapping[str, str] = {name: name for name in (*_COMMON, *_LOCAL)} | {
    "max_output_tokens": "max_tokens",
    "top_logprobs": "top_logprobs",
}
ANTHROPIC: Mapping[str, str] = {name: name for name in _COMMON} | {
    "stop_sequences": "stop",
    "max_tokens": "max_tokens",
}
OLLAMA: Mapping[str, str] = {name: name for name in (*_COMMON, *_LOCAL)} | {
    "stop": "stop",
    "num_predict": "max_tokens",
}
OLLAMA_TOP_LEVEL: Mapping[str, str] = {"logprobs": "logprobs", "top_logprobs": "top_logprobs"}

# Canonical name -> wire names. Two names where servers of one dialect disagree; each ignores the other's.
OPENAI_OUT: Mapping[str, tuple[str, ...]] = {
    canonical: tuple(wire for wire, name in OPENAI.items() if name == canonical) for canonical in OPENAI.values()
}
ANTHROPIC_OUT: Mapping[str, str] = {canonical: wire for wire, canonical in ANTHROPIC.items()}
OLLAMA_OUT: Mapping[str, str] = {canonical: wire for wire, canonical in OLLAMA.items()}


def read(names: Mapping[str, str], source: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that `source` sets, under their canonical names."""
    found: dict[str, Any] = {}
    for key, value in source.items():
        name = names.get(key)
        if name is not None and value is not None:
            found[name] = value
    stop = found.get("stop")
    if stop is not None:
        found["stop"] = _stop_list(stop)
    return found


def read_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ollama's `options`: the parameters under their canonical names, and the rest, which only Ollama has."""
    found = read(OLLAMA, options)
    if len(found) == len(options):
        return found, {}
    return found, {key: value for key, value in options.items() if key not in OLLAMA}


def _stop_list(stop: Any) -> list[str]:
    if isinstance(stop, str):
        return [stop]
    if isinstance(stop, list) and all(isinstance(item, str) for item in stop):
        return stop
    raise InvalidRequest("'stop' must be a string or a list of strings", details={"param": "stop"})
