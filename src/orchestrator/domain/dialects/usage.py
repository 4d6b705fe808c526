"""Usage is the number of tokens one request took, in every dialect's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from orchestrator.domain.dialects.endpoint import Endpoint
from orchestrator.domain.node import Dialect


class Usage(NamedTuple):
    """`prompt_tokens` counts cached ones too; `completion_tokens` counts reasoning ones too."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


def usage_of(endpoint: Endpoint, body: Mapping[str, Any]) -> Usage | None:
    """What a complete 200 body of `endpoint` says about tokens, or None when it says nothing."""
    if endpoint.dialect is Dialect.OLLAMA:
        return ollama_usage(body)
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return None
    return anthropic_usage(usage) if "input_tokens" in usage else openai_usage(usage)


def openai_usage(usage: Mapping[str, Any]) -> Usage:
    """From the `usage` object of chat completions, completions or embeddings."""
    cached = reasoning = 0
    details = usage.get("prompt_tokens_details")
    if details:
        cached = details.get("cached_tokens") or 0
    details = usage.get("completion_tokens_details")
    if details:
        reasoning = details.get("reasoning_tokens") or 0
    return Usage(int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0), cached, reasoning)


def anthropic_usage(usage: Mapping[str, Any], before: Usage | None = None) -> Usage:
    """From Anthropic's `usage` (whose input excludes cached tokens) or the Responses API's (whose input does not).

    `before` is what an earlier event of the same stream said; later events may repeat only some counts.
    """
    details = usage.get("input_tokens_details")
    if details is not None:
        cached = details.get("cached_tokens") or 0
        prompt = usage.get("input_tokens") or 0
    else:
        cached = usage.get("cache_read_input_tokens") or 0
        prompt = (usage.get("input_tokens") or 0) + cached + (usage.get("cache_creation_input_tokens") or 0)
    out = usage.get("output_tokens_details") or {}
    reasoning = out.get("thinking_tokens") or out.get("reasoning_tokens") or 0
    completion = usage.get("output_tokens") or 0
    if before is not None and not prompt:
        prompt, cached = before.prompt_tokens, before.cached_tokens
    return Usage(int(prompt), int(completion), cached, reasoning)


def ollama_usage(body: Mapping[str, Any]) -> Usage | None:
    """From the final object of generate, chat or embed."""
    prompt, completion = body.get("prompt_eval_count"), body.get("eval_count")
    if prompt is None and completion is None:
        return None
    return Usage(int(prompt or 0), int(completion or 0))


def openai_usage_body(usage: Usage) -> dict[str, Any]:
    body: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.cached_tokens:
        body["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return body


def anthropic_usage_body(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    body: dict[str, Any] = {
        "input_tokens": max(usage.prompt_tokens - usage.cached_tokens, 0),
        "output_tokens": usage.completion_tokens,
    }
    if usage.cached_tokens:
        body["cache_read_input_tokens"] = usage.cached_tokens
    if usage.reasoning_tokens:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return body


def responses_usage_body(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
