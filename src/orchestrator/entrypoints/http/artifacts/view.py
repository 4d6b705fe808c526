"""Artifacts and uploads as they are shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.domain.artifact import Artifact, Upload


def view(artifact: Artifact) -> dict[str, Any]:
    """Times in seconds since the epoch."""
    origin = artifact.origin
    return {
        "artifact_id": artifact.id,
        "file_name": artifact.file_name,
        "mime_type": artifact.mime_type,
        "storage_pointer": artifact.pointer,
        "size_bytes": artifact.size,
        "created_at": artifact.created_at,
        "created_by_tool_id": origin.tool,
        "state": artifact.state.value,
        "sha256": artifact.sha256 or None,
        "task_id": origin.task or None,
        "run_id": origin.run or None,
        "agent_id": origin.agent or None,
        "call_id": origin.call or None,
        "principal": origin.principal or None,
        "inputs": origin.inputs,
        "expires_at": artifact.expires_at,
        "verified_at": artifact.verified_at,
    }


def contract_view(artifact: Artifact) -> dict[str, Any]:
    """The registry contract's row, and our columns behind it. Times in ISO 8601, UTC."""
    shown = view(artifact)
    return shown | {name: iso(shown[name]) for name in ("created_at", "expires_at", "verified_at")}


def upload_view(upload: Upload) -> dict[str, Any]:
    return {
        "upload_id": upload.id,
        "file_name": upload.file_name,
        "mime_type": upload.mime_type,
        "size_bytes": upload.size,
        "sha256": upload.sha256 or None,
        "offset": upload.offset,
        "created_at": upload.created_at,
        "touched_at": upload.touched_at,
    }


def iso(seconds: float | None) -> str | None:
    return (
        None
        if seconds is None
        else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    )
