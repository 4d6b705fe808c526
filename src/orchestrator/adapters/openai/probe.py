"""Looks at a server that speaks OpenAI's dialect: vLLM, LM Studio, llama.cpp, a hosted provider."""

from __future__ import annotations

import json
from time import monotonic

from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.node import Dialect, ModelEntry, NodeReport, NodeSpec
from orchestrator.ports.upstream import Target, Upstream


class OpenAIProbe:
    """GET /v1/models decides health, and GET /health where the server has one (llama.cpp says there that it still
    loads; vLLM that its engine died)."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def look(self, spec: NodeSpec, target: Target, secret: str | None, timeout: float) -> NodeReport:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        started = monotonic()
        try:
            health = await self._upstream.fetch(target, "GET", "/health", headers=headers, timeout=timeout)
            if health.status >= 500:
                elapsed = (monotonic() - started) * 1000
                return NodeReport(False, elapsed, f"GET /health answered {health.status}.")
            answer = await self._upstream.fetch(target, "GET", "/v1/models", headers=headers, timeout=timeout)
        except OrchestratorError as error:
            return NodeReport(False, (monotonic() - started) * 1000, error.message)
        latency = (monotonic() - started) * 1000
        if answer.status != 200:
            return NodeReport(False, latency, f"GET /v1/models answered {answer.status}.")
        try:
            rows = json.loads(answer.body)["data"]
            models = tuple(ModelEntry(name=str(row["id"]), size=_size(row), raw=row) for row in rows)
        except (ValueError, KeyError, TypeError):
            return NodeReport(False, latency, "GET /v1/models is not OpenAI's answer.")
        return NodeReport(
            True,
            latency,
            version=answer.headers.get("server", ""),
            dialects=frozenset({Dialect.OPENAI}),
            models=models,
        )


def _size(row: dict[str, object]) -> int:
    """llama.cpp tells a model's size in bytes among its metadata."""
    meta = row.get("meta")
    size = meta.get("size") if isinstance(meta, dict) else None
    return size if isinstance(size, int) else 0
