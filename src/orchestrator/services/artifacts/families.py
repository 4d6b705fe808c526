"""The numbers of artifacts for `GET /metrics`."""

from __future__ import annotations

from orchestrator.ports.telemetry import Family
from orchestrator.services.artifacts.artifacts import Artifacts
from orchestrator.services.artifacts.sweeper import Sweeper
from orchestrator.services.metrics.snapshot import family, single


class ArtifactFamilies:
    """A source of `Metrics`."""

    def __init__(self, artifacts: Artifacts, sweeper: Sweeper) -> None:
        self._artifacts = artifacts
        self._sweeper = sweeper

    def families(self) -> list[Family]:
        counters, usage = self._artifacts.counters, self._sweeper.usage
        return [
            single("orchestrator_artifacts", usage.count),
            single("orchestrator_artifact_bytes", usage.size),
            single("orchestrator_artifact_uploads_total", counters.uploaded),
            single("orchestrator_artifact_uploaded_bytes_total", counters.uploaded_bytes),
            single("orchestrator_artifact_downloaded_bytes_total", counters.downloaded_bytes),
            single("orchestrator_artifact_damaged_total", counters.damaged),
            family("orchestrator_artifact_removed_total", [((why,), n) for why, n in counters.removed.items()]),
        ]
