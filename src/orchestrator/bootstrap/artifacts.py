"""Puts together what keeps artifacts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import uuid4

from orchestrator.adapters.blobs import DiskBlobs, DiskStaging
from orchestrator.adapters.memory.blobs import MemoryBlobs
from orchestrator.bootstrap.nodes import keep
from orchestrator.domain.artifact import Quota
from orchestrator.domain.errors import ConfigurationError
from orchestrator.ports.blobs import BlobStore
from orchestrator.ports.store import Storage
from orchestrator.ports.telemetry import Family
from orchestrator.services.artifacts import ArtifactRules, Artifacts, Outputs, Sweeper, Uploads
from orchestrator.services.artifacts.families import ArtifactFamilies
from orchestrator.services.clock import Clock
from orchestrator.settings import Settings


@dataclass(slots=True)
class ArtifactParts:
    """What of the artifacts other parts of the service see."""

    artifacts: Artifacts
    uploads: Uploads
    outputs: Outputs
    sweeper: Sweeper
    families: Callable[[], Iterable[Family]]  # a source of `Metrics`

    def start(self, stack: AsyncExitStack) -> None:
        """Cleans up what earlier processes left, and keeps doing so until the stack closes."""
        keep(stack, self.sweeper.run(asyncio.sleep))

    def adopt(self, settings: Settings) -> None:
        """Changed settings."""
        self.artifacts.rules = artifact_rules(settings)


def build_artifacts(settings: Settings, storage: Storage, clock: Clock) -> ArtifactParts:
    """Raises ConfigurationError for an object store that cannot be used."""
    folder = settings.artifacts.path or settings.data_dir / "artifacts"
    staging, blobs = DiskStaging(folder / "parts"), _blobs(settings)
    alone = not settings.database_url.startswith("postgres")  # no other process can use this store
    artifacts = Artifacts(storage.artifacts, blobs, clock.wall, _new_id, artifact_rules(settings))
    uploads = Uploads(storage.uploads, staging, blobs, artifacts, clock.wall, _new_id)
    sweeper = Sweeper(storage.artifacts, storage.uploads, staging, blobs, artifacts, uploads, clock.wall, alone=alone)
    outputs = Outputs(uploads, artifacts, clock)
    return ArtifactParts(artifacts, uploads, outputs, sweeper, ArtifactFamilies(artifacts, sweeper).families)


def artifact_rules(settings: Settings) -> ArtifactRules:
    wanted = settings.artifacts
    return ArtifactRules(
        max_size=wanted.max_size,
        max_result=wanted.max_result,
        quota=Quota(wanted.principal_quota, wanted.quota),
        keep=wanted.keep,
        keep_results=settings.tasks.keep_finished,
        upload_patience=wanted.upload_patience,
        sweep=wanted.sweep_interval,
        verify_after=wanted.verify_after,
        verify_rate=wanted.verify_rate,
    )


def _blobs(settings: Settings) -> BlobStore:
    wanted = settings.artifacts
    if wanted.url is not None:
        try:
            from orchestrator.adapters.blobs.objects import open_objects
        except ImportError as error:
            raise ConfigurationError(
                "artifacts.url needs the package obstore: install orchestrator[artifacts-cloud]",
                details={"extra": "artifacts-cloud"},
            ) from error
        return open_objects(wanted.url)
    if settings.database_url.startswith("memory:"):
        return MemoryBlobs()
    return DiskBlobs((wanted.path or settings.data_dir / "artifacts") / "blobs")


def _new_id() -> str:
    return str(uuid4())
