"""Looks at a server that speaks Anthropic's dialect."""

from __future__ import annotations

import json
from time import monotonic

from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.node import Dialect, ModelEntry, NodeReport, NodeSpec
from orchestrator.ports.upstream import Target, Upstream

VERSION = "2023-06-01"  # https://docs.anthropic.com/en/api/versioning


class AnthropicProbe:
    """GET /v1/models decides health."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def look(self, spec: NodeSpec, target: Target, secret: str | None, timeout: float) -> NodeReport:
        headers = {"anthropic-version": VERSION} | ({"x-api-key": secret} if secret else {})
        started = monotonic()
        try:
            answer = await self._upstream.fetch(
                target, "GET", "/v1/models?limit=1000", headers=headers, timeout=timeout
            )
        except OrchestratorError as error:
            return NodeReport(False, (monotonic() - started) * 1000, error.message)
        latency = (monotonic() - started) * 1000
        if answer.status in (404, 405) and spec.models:
            # A compatible server without a model list: the operator wrote down what it serves.
            return NodeReport(True, latency, dialects=frozenset({Dialect.ANTHROPIC}))
        if answer.status != 200:
            return NodeReport(False, latency, f"GET /v1/models answered {answer.status}.")
        try:
            rows = json.loads(answer.body)["data"]
            models = tuple(ModelEntry(name=str(row["id"]), raw=row) for row in rows)
        except (ValueError, KeyError, TypeError):
            return NodeReport(False, latency, "GET /v1/models is not Anthropic's answer.")
        return NodeReport(True, latency, dialects=frozenset({Dialect.ANTHROPIC}), models=models)
