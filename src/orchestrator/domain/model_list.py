"""One row of a merged list of models, in the forms of Ollama and of OpenAI."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from orchestrator.domain.node import ModelEntry

# Fields by which the two kinds of upstream rows differ; everything else a server says is passed on.
_OPENAI_OWN = ("id", "object", "created", "owned_by")
_OLLAMA_OWN = ("name", "model", "modified_at", "size", "digest", "details")
_NEVER = "1970-01-01T00:00:00Z"


def tag_row(name: str, entries: Sequence[tuple[str, ModelEntry]]) -> dict[str, Any]:
    """A row of `/api/tags` for a model of these nodes. Ollama's own row is taken over where there is one, and what
    other servers say is fitted to its fields otherwise."""
    source = next((entry for _, entry in entries if "digest" in entry.raw or "details" in entry.raw), entries[0][1])
    row: dict[str, Any] = {key: value for key, value in source.raw.items() if key not in _OPENAI_OWN}
    row.setdefault("modified_at", source.modified_at or _instant(source.raw.get("created")))
    row.setdefault("size", source.size)
    row.setdefault("digest", source.digest)
    row.setdefault("details", {})
    return {"name": name, "model": name, **_without(row, "name", "model"), "servers": [node for node, _ in entries]}


def model_row(name: str, entries: Sequence[tuple[str, ModelEntry]]) -> dict[str, Any]:
    """A row of `/v1/models` for a model of these nodes."""
    source = next((entry for _, entry in entries if "object" in entry.raw or "id" in entry.raw), entries[0][1])
    created = source.raw.get("created")
    return {
        "id": name,
        "object": "model",
        "created": created if isinstance(created, int) else _seconds(source.modified_at),
        "owned_by": entries[0][0],
        **_without(source.raw, *_OPENAI_OWN, *_OLLAMA_OWN),
        "servers": [node for node, _ in entries],
    }


def _without(row: Any, *names: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in names}


def _seconds(modified_at: str) -> int:
    """Seconds since the epoch, 0 when unknown."""
    try:
        moment = datetime.fromisoformat(modified_at)
        return max(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()), 0)
    except (ValueError, OverflowError):
        return 0


def _instant(created: object) -> str:
    """RFC 3339 in UTC, from seconds since the epoch."""
    if not isinstance(created, int) or not 0 < created < 253_402_300_800:
        return _NEVER
    days, seconds = divmod(created, 86_400)
    date = datetime.fromordinal(719_163 + days)
    return f"{date:%Y-%m-%d}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"
