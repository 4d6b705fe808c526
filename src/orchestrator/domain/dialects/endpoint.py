"""An Endpoint is one inference path of one dialect: what it does and whether it streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from orchestrator.domain.errors import Unsupported
from orchestrator.domain.node import Dialect


class Operation(StrEnum):
    """What the caller wants of a model."""

    CHAT = "chat"
    COMPLETE = "complete"
    EMBED = "embed"
    COUNT_TOKENS = "count_tokens"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`stream_default` is what the dialect means when the request has no `stream`."""

    name: str
    dialect: Dialect
    path: str
    operation: Operation
    streams: bool
    stream_default: bool


OPENAI_CHAT = Endpoint("openai_chat", Dialect.OPENAI, "/v1/chat/completions", Operation.CHAT, True, False)
OPENAI_COMPLETIONS = Endpoint("openai_completions", Dialect.OPENAI, "/v1/completions", Operation.COMPLETE, True, False)
OPENAI_EMBEDDINGS = Endpoint("openai_embeddings", Dialect.OPENAI, "/v1/embeddings", Operation.EMBED, False, False)
OPENAI_RESPONSES = Endpoint("openai_responses", Dialect.OPENAI, "/v1/responses", Operation.CHAT, True, False)
ANTHROPIC_MESSAGES = Endpoint("anthropic_messages", Dialect.ANTHROPIC, "/v1/messages", Operation.CHAT, True, False)
ANTHROPIC_COUNT_TOKENS = Endpoint(
    "anthropic_count_tokens",
    Dialect.ANTHROPIC,
    "/v1/messages/count_tokens",
    Operation.COUNT_TOKENS,
    False,
    False,
)
OLLAMA_GENERATE = Endpoint("ollama_generate", Dialect.OLLAMA, "/api/generate", Operation.COMPLETE, True, True)
OLLAMA_CHAT = Endpoint("ollama_chat", Dialect.OLLAMA, "/api/chat", Operation.CHAT, True, True)
OLLAMA_EMBED = Endpoint("ollama_embed", Dialect.OLLAMA, "/api/embed", Operation.EMBED, False, False)
OLLAMA_EMBEDDINGS = Endpoint("ollama_embeddings", Dialect.OLLAMA, "/api/embeddings", Operation.EMBED, False, False)

ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType(
    {
        endpoint.path: endpoint
        for endpoint in (
            OPENAI_CHAT,
            OPENAI_COMPLETIONS,
            OPENAI_EMBEDDINGS,
            OPENAI_RESPONSES,
            ANTHROPIC_MESSAGES,
            ANTHROPIC_COUNT_TOKENS,
            OLLAMA_GENERATE,
            OLLAMA_CHAT,
            OLLAMA_EMBED,
            OLLAMA_EMBEDDINGS,
        )
    }
)

# Any one of these must be in the tail of a stream that came to its own end.
TERMINAL: Mapping[str, tuple[bytes, ...]] = MappingProxyType(
    {
        OPENAI_CHAT.name: (b"[DONE]",),
        OPENAI_COMPLETIONS.name: (b"[DONE]",),
        OPENAI_RESPONSES.name: (b"response.completed", b"response.incomplete", b"response.failed"),
        ANTHROPIC_MESSAGES.name: (b"message_stop",),
        OLLAMA_GENERATE.name: (b'"done":true', b'"done": true'),
        OLLAMA_CHAT.name: (b'"done":true', b'"done": true'),
    }
)


def target_endpoint(source: Endpoint, target: Dialect, body: Mapping[str, Any] | None = None) -> Endpoint:
    """Where a request for `source` goes on a node that speaks `target`.

    `body` decides where one dialect's endpoint is two of another's (`/api/generate` is a chat turn unless it is raw).
    Raises `Unsupported` when the dialect has nothing like it.
    """
    if source.operation is Operation.COUNT_TOKENS and target is not source.dialect:
        raise Unsupported(f"counting tokens is not available on a node that speaks {target}")
    if source.operation is Operation.EMBED:
        return _embedding_target(source, target)
    if source is OPENAI_RESPONSES and target is Dialect.OPENAI:
        return OPENAI_CHAT  # most OpenAI-compatible servers have no /v1/responses of their own
    if target is source.dialect:
        return source
    verbatim = source.operation is Operation.COMPLETE and (source is OPENAI_COMPLETIONS or _is_verbatim(body or {}))
    if target is Dialect.ANTHROPIC:
        _refuse_verbatim_on_anthropic(source, body or {})
        return ANTHROPIC_MESSAGES
    if target is Dialect.OPENAI:
        return OPENAI_COMPLETIONS if verbatim else OPENAI_CHAT
    return OLLAMA_GENERATE if verbatim else OLLAMA_CHAT


def _embedding_target(source: Endpoint, target: Dialect) -> Endpoint:
    if target is source.dialect:
        return source
    if target is Dialect.ANTHROPIC:
        raise Unsupported("embeddings are not available on a node that speaks anthropic")
    return OPENAI_EMBEDDINGS if target is Dialect.OPENAI else OLLAMA_EMBED


def _is_verbatim(body: Mapping[str, Any]) -> bool:
    return bool(body.get("raw") or body.get("suffix"))


def _refuse_verbatim_on_anthropic(source: Endpoint, body: Mapping[str, Any]) -> None:
    if source.operation is not Operation.COMPLETE:
        return
    for field in ("raw", "suffix", "echo"):
        if body.get(field):
            raise Unsupported(f"'{field}' is not available on a node that speaks anthropic", details={"param": field})
