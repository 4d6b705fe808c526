"""Artifacts: bytes that work leaves behind, and what is known of them."""

from __future__ import annotations

from orchestrator.services.artifacts.artifacts import Artifacts, Lineage, Verified
from orchestrator.services.artifacts.described import Described
from orchestrator.services.artifacts.outputs import Outputs
from orchestrator.services.artifacts.rules import ArtifactRules
from orchestrator.services.artifacts.sweeper import Sweeper, Swept
from orchestrator.services.artifacts.uploads import Uploads

__all__ = [
    "ArtifactRules",
    "Artifacts",
    "Described",
    "Lineage",
    "Outputs",
    "Sweeper",
    "Swept",
    "Uploads",
    "Verified",
]
