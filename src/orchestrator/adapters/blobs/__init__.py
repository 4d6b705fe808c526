"""Bytes of artifacts: on a disk, or in a cloud's object store."""

from __future__ import annotations

from orchestrator.adapters.blobs.disk import DiskBlobs, DiskStaging

__all__ = ["DiskBlobs", "DiskStaging"]
