"""What software answers at a URL, for nodes that are registered without saying so."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlsplit

from orchestrator.domain.errors import UpstreamError
from orchestrator.domain.node import NodeKind, NodeSpec
from orchestrator.ports.upstream import Upstream
from orchestrator.services.fleet.node import target_of

ANTHROPIC_HOST = "api.anthropic.com"


class Identifier:
    """Asks servers what they are."""

    def __init__(self, upstream: Upstream, secret_of: Callable[[NodeSpec], str | None]) -> None:
        """`secret_of` resolves a node's `api_key` reference."""
        self._upstream = upstream
        self._secret_of = secret_of

    async def kind_of(self, spec: NodeSpec, timeout: float) -> NodeKind:
        """Ollama when it lists models at `/api/tags`, OpenAI-compatible when it does at `/v1/models`.

        Ollama also when it does not answer: the fleet contract's servers are Ollama's, and may be added before they
        run. `timeout` in seconds for each of the two.
        """
        if urlsplit(spec.url).hostname == ANTHROPIC_HOST:
            return NodeKind.ANTHROPIC
        if await self._lists(spec, "/api/tags", "models", timeout):
            return NodeKind.OLLAMA
        if await self._lists(spec, "/v1/models", "data", timeout):
            return NodeKind.OPENAI
        return NodeKind.OLLAMA

    async def _lists(self, spec: NodeSpec, path: str, field: str, timeout: float) -> bool:
        secret = self._secret_of(spec)
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        try:
            answer = await self._upstream.fetch(target_of(spec), "GET", path, headers=headers, timeout=timeout)
            body = json.loads(answer.body)
        except (UpstreamError, ValueError, RecursionError):
            return False
        return answer.status == 200 and isinstance(body, dict) and isinstance(body.get(field), list)
