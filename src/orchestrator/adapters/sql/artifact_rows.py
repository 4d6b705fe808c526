"""Artifacts and uploads as rows, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.domain.artifact import Artifact, ArtifactState, Origin, Upload


def artifact_row(artifact: Artifact) -> dict[str, Any]:
    return {
        "artifact_id": artifact.id,
        "file_name": artifact.file_name,
        "mime_type": artifact.mime_type,
        "storage_pointer": artifact.pointer,
        "size_bytes": artifact.size,
        "created_at": artifact.created_at,
        "created_by_tool_id": artifact.origin.tool,
        "state": artifact.state.value,
        "sha256": artifact.sha256 or None,
        "expires_at": artifact.expires_at,
        "verified_at": artifact.verified_at,
        **_origin_row(artifact.origin),
    }


def read_artifact(row: Mapping[Any, Any]) -> Artifact:
    return Artifact(
        row["artifact_id"],
        row["file_name"],
        row["mime_type"],
        row["storage_pointer"],
        row["size_bytes"],
        row["created_at"],
        _origin(row, row["created_by_tool_id"]),
        ArtifactState(row["state"]),
        row["sha256"] or "",
        row["expires_at"],
        row["verified_at"],
    )


def upload_row(upload: Upload) -> dict[str, Any]:
    return {
        "upload_id": upload.id,
        "file_name": upload.file_name,
        "mime_type": upload.mime_type,
        "tool_id": upload.origin.tool,
        "created_at": upload.created_at,
        "touched_at": upload.touched_at,
        "expires_at": upload.expires_at,
        "size_bytes": upload.size,
        "sha256": upload.sha256 or None,
        "received": upload.offset,
        "resumable": upload.resumable,
        **_origin_row(upload.origin),
    }


def read_upload(row: Mapping[Any, Any]) -> Upload:
    return Upload(
        row["upload_id"],
        row["file_name"],
        row["mime_type"],
        row["created_at"],
        row["touched_at"],
        _origin(row, row["tool_id"]),
        row["size_bytes"],
        row["sha256"] or "",
        row["expires_at"],
        row["received"],
        row["resumable"],
    )


def _origin_row(origin: Origin) -> dict[str, Any]:
    return {
        "task_id": origin.task or None,
        "run_id": origin.run or None,
        "agent_id": origin.agent or None,
        "principal": origin.principal or None,
        "call_id": origin.call or None,
        "inputs": list(origin.inputs),
    }


def _origin(row: Mapping[Any, Any], tool: str | None) -> Origin:
    return Origin(
        tool,
        row["task_id"] or "",
        row["run_id"] or "",
        row["agent_id"] or "",
        row["principal"] or "",
        tuple(row["inputs"]),
        row["call_id"] or "",
    )
