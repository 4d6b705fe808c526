"""What software answers at a URL, for nodes that are registered without saying so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from orchestrator.domain.errors import UpstreamError
from orchestrator.domain.node import NodeKind, NodeSpec
from orchestrator.ports.upstream import Upstream
from orchestrator.services.fleet.node import target_of

ANTHROPIC_HOST = "api.anthropic.com"


async def identify(upstream: Upstream, spec: NodeSpec, secret: str | None, timeout: float) -> NodeKind:
    """Ollama when it lists models at `/api/tags`, OpenAI-compatible when it does at `/v1/models`.

    Ollama also when it does not answer: the fleet contract's servers are Ollama's, and may be added before they run.
    """
    if urlsplit(spec.url).hostname == ANTHROPIC_HOST:
        return NodeKind.ANTHROPIC
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    for path, field, kind in (("/api/tags", "models", NodeKind.OLLAMA), ("/v1/models", "data", NodeKind.OPENAI)):
        if await _lists(upstream, spec, path, field, headers, timeout):
            return kind
    return NodeKind.OLLAMA


async def _lists(
    upstream: Upstream, spec: NodeSpec, path: str, field: str, headers: Mapping[str, str], timeout: float
) -> bool:
    try:
        answer = await upstream.fetch(target_of(spec), "GET", path, headers=headers, timeout=timeout)
        body: Any = json.loads(answer.body)
    except (UpstreamError, ValueError):
        return False
    return answer.status == 200 and isinstance(body, dict) and isinstance(body.get(field), list)
