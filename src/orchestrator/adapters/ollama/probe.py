"""Looks at an Ollama server: what it has, what it holds in memory, what it speaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from time import monotonic
from typing import Any

from orchestrator.domain.errors import MalformedAnswer, OrchestratorError
from orchestrator.domain.node import Dialect, LoadedModel, ModelEntry, NodeReport, NodeSpec
from orchestrator.ports.upstream import Target, Upstream


class OllamaProbe:
    """GET /api/tags decides health; /api/ps, /api/version and /v1/models add what they can."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._capabilities: dict[tuple[str, str], frozenset[str]] = {}  # (node, digest), from /api/show

    async def look(self, spec: NodeSpec, target: Target, secret: str | None, timeout: float) -> NodeReport:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        started = monotonic()

        async def get(path: str) -> Any:
            return await self._json(target, "GET", path, headers, timeout)

        try:
            tags = await get("/api/tags")
            latency = (monotonic() - started) * 1000
            rows = [row for row in tags["models"] if isinstance(row, dict) and row.get("name")]
        except OrchestratorError as error:
            return NodeReport(False, (monotonic() - started) * 1000, error.message)
        except (KeyError, TypeError):
            return NodeReport(False, (monotonic() - started) * 1000, "GET /api/tags is not Ollama's answer.")
        paths = ("/api/ps", "/api/version", "/v1/models")
        found: list[Any] = await asyncio.gather(*map(get, paths), return_exceptions=True)
        ps, version, openai = found
        dialects = {Dialect.OLLAMA}
        if isinstance(openai, dict) and "data" in openai:
            dialects.add(Dialect.OPENAI)
        models = [await self._entry(spec, target, headers, row, timeout) for row in rows]
        return NodeReport(
            True,
            latency,
            version=str(version.get("version", "")) if isinstance(version, dict) else "",
            dialects=frozenset(dialects),
            models=tuple(models),
            loaded=_loaded(ps),
        )

    async def _entry(
        self, spec: NodeSpec, target: Target, headers: Mapping[str, str], row: dict[str, Any], timeout: float
    ) -> ModelEntry:
        key = (spec.id, str(row.get("digest", "")))
        if key not in self._capabilities:
            try:
                body = json.dumps({"model": row["name"]}).encode()
                shown = await self._json(target, "POST", "/api/show", headers, timeout, body)
            except OrchestratorError:
                shown = {}
            told = shown.get("capabilities") if isinstance(shown, dict) else None
            self._capabilities[key] = frozenset(map(str, told)) if isinstance(told, list) else frozenset()
        return ModelEntry(
            name=str(row["name"]),
            digest=key[1],
            size=int(row.get("size") or 0),
            modified_at=str(row.get("modified_at", "")),
            capabilities=self._capabilities[key],
            raw=row,
        )

    async def _json(
        self,
        target: Target,
        method: str,
        path: str,
        headers: Mapping[str, str],
        timeout: float,
        body: bytes = b"",
    ) -> Any:
        answer = await self._upstream.fetch(target, method, path, headers=headers, body=body, timeout=timeout)
        if answer.status != 200:
            raise MalformedAnswer(f"{method} {path} answered {answer.status}.")
        try:
            return json.loads(answer.body)
        except ValueError:
            raise MalformedAnswer(f"{method} {path} did not answer JSON.") from None


def _loaded(ps: object) -> tuple[LoadedModel, ...] | None:
    rows = ps.get("models") if isinstance(ps, dict) else None
    if not isinstance(rows, list):
        return None
    return tuple(
        LoadedModel(
            name=str(row["name"]),
            size=int(row.get("size") or 0),
            size_vram=int(row.get("size_vram") or 0),
            expires_at=str(row.get("expires_at", "")),
            raw=row,
        )
        for row in rows
        if isinstance(row, dict) and row.get("name")
    )
