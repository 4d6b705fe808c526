"""Which fields an endpoint cannot do without, checked before a request takes a place in the queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.domain.dialects import endpoint as ep
from orchestrator.domain.dialects.endpoint import Endpoint
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.node import Dialect

_FIELDS: Mapping[str, tuple[str, ...]] = {
    ep.OPENAI_CHAT.name: ("messages",),
    ep.OPENAI_COMPLETIONS.name: ("prompt",),
    ep.OPENAI_EMBEDDINGS.name: ("input",),
    ep.OPENAI_RESPONSES.name: ("input",),
    ep.ANTHROPIC_MESSAGES.name: ("messages", "max_tokens"),
    ep.ANTHROPIC_COUNT_TOKENS.name: ("messages",),
    ep.OLLAMA_GENERATE.name: ("prompt",),
    ep.OLLAMA_CHAT.name: ("messages",),
    ep.OLLAMA_EMBED.name: ("input",),
}
_INSTEAD_OF_PROMPT = ("keep_alive", "images", "suffix", "context")


def required_fields(endpoint: Endpoint, body: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest`, its details holding `param` and `code`, for a request that lacks something."""
    if not isinstance(body, Mapping):
        raise InvalidRequest("the body must be a JSON object")
    if endpoint is ep.OLLAMA_EMBEDDINGS:
        if not body.get("model") or not body.get("prompt"):
            raise _missing("model and prompt are required", "prompt" if body.get("model") else "model")
        return
    model = body.get("model")
    if not model or not isinstance(model, str):
        raise _lacks(endpoint, "model")
    for name in _FIELDS[endpoint.name]:
        if body.get(name) is None and not _excused(endpoint, name, body):
            raise _lacks(endpoint, name)
    if "messages" in _FIELDS[endpoint.name]:
        _check_messages(endpoint, body.get("messages"))


def is_load(endpoint: Endpoint, body: Mapping[str, Any]) -> bool:
    """Whether the request asks Ollama to load (or, with `keep_alive` 0, unload) a model and to generate nothing."""
    if endpoint is ep.OLLAMA_CHAT:
        return not body.get("messages")
    if endpoint is ep.OLLAMA_GENERATE:
        return not any(body.get(name) for name in ("prompt", "suffix", "images"))
    return False


def _excused(endpoint: Endpoint, name: str, body: Mapping[str, Any]) -> bool:
    if endpoint is ep.OLLAMA_EMBED:
        return body.get("prompt") is not None  # an older name of `input`
    if endpoint in (ep.OLLAMA_GENERATE, ep.OLLAMA_CHAT):
        return any(body.get(other) is not None for other in _INSTEAD_OF_PROMPT)
    return False


def _check_messages(endpoint: Endpoint, messages: Any) -> None:
    if endpoint is ep.OLLAMA_CHAT and not messages:
        return
    if not isinstance(messages, list):
        raise InvalidRequest("'messages' must be an array", details={"param": "messages"})
    if not messages:
        raise _lacks(endpoint, "messages")


def _lacks(endpoint: Endpoint, name: str) -> InvalidRequest:
    if endpoint.dialect is Dialect.OPENAI:
        return _missing(f"Missing required parameter: '{name}'.", name)
    return _missing(f"{name} is required", name)


def _missing(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, details={"param": param, "code": "missing_required_parameter"})
