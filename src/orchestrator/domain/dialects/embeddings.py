"""Embeddings: /v1/embeddings, /api/embed and the older /api/embeddings."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any

from orchestrator.domain.dialects.checks import as_list, as_text, unsupported
from orchestrator.domain.dialects.conversation import Envelope
from orchestrator.domain.dialects.endpoint import (
    OLLAMA_EMBED,
    OLLAMA_EMBEDDINGS,
    OPENAI_EMBEDDINGS,
    Endpoint,
)
from orchestrator.domain.dialects.usage import usage_of
from orchestrator.domain.errors import MalformedAnswer


def write_request(source: Endpoint, target: Endpoint, body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The body, and the names of what it could not carry."""
    # `prompt` is an older name of Ollama's `input`.
    field = "prompt" if source is OLLAMA_EMBEDDINGS or body.get("input") is None else "input"
    value = body.get(field)
    if isinstance(value, list) and value and not isinstance(value[0], str):
        raise unsupported(field, "token ids work only on a node that speaks openai")
    texts = value if isinstance(value, str) else [as_text(v, field) for v in as_list(value, field)]
    out: dict[str, Any] = {"model": body["model"], "input": texts}
    if body.get("dimensions") is not None:
        out["dimensions"] = body["dimensions"]
    if target is OPENAI_EMBEDDINGS:
        out["encoding_format"] = "float"
        return out, [name for name in ("truncate", "keep_alive", "options") if body.get(name) is not None]
    for name in ("truncate", "keep_alive", "options"):
        if body.get(name) is not None:
            out[name] = body[name]
    return out, ["user"] if body.get("user") else []


def translate_answer(
    source: Endpoint, target: Endpoint, body: dict[str, Any], envelope: Envelope, ended: float
) -> dict[str, Any]:
    """The client's form of the node's 200 body."""
    vectors = _vectors(target, body)
    usage = usage_of(target, body)
    tokens = usage.prompt_tokens if usage is not None else 0
    if source is OLLAMA_EMBEDDINGS:
        return {"embedding": vectors[0]}
    if source is OLLAMA_EMBED:
        return {
            "model": envelope.model,
            "embeddings": vectors,
            "total_duration": int(max(ended - envelope.now, 0.0) * 1e9),
            "load_duration": int(body.get("load_duration") or 0),
            "prompt_eval_count": tokens,
        }
    packed = envelope.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": i, "embedding": _pack(vector) if packed else vector}
        for i, vector in enumerate(vectors)
    ]
    usage_body = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": envelope.model, "usage": usage_body}


def _vectors(target: Endpoint, body: dict[str, Any]) -> list[list[float]]:
    if target is OLLAMA_EMBED:
        vectors = body.get("embeddings")
    else:
        items = sorted(body["data"], key=lambda item: item.get("index") or 0)
        vectors = [_unpack(item["embedding"]) for item in items]
    if not isinstance(vectors, list) or not vectors or not all(isinstance(vector, list) for vector in vectors):
        raise MalformedAnswer("the node's answer has no embeddings")
    return vectors


def _pack(vector: list[float]) -> str:
    """OpenAI's base64 form: 32-bit floats, little-endian."""
    values = array("f", vector)
    if sys.byteorder == "big":
        values.byteswap()
    return base64.b64encode(values.tobytes()).decode("ascii")


def _unpack(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    values = array("f", base64.b64decode(value, validate=True))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()
