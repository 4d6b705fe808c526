"""What the built-in tools work with: a folder, artifacts in memory, and real child processes."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from builtin_calls import Keep

from orchestrator.adapters.callables import CallProcesses
from orchestrator.adapters.files import FileTree
from orchestrator.adapters.memory.artifacts import MemoryArtifacts
from orchestrator.adapters.memory.blobs import MemoryBlobs
from orchestrator.domain.access import Principal, Role
from orchestrator.domain.artifact import Artifact, ArtifactState, Origin
from orchestrator.services.artifacts import ArtifactRules, Artifacts
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.material import Material

PRINCIPALS = {name: Principal(name, name, Role.DEVELOPER) for name in ("anna", "bert")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The tools' folder."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
async def apart() -> AsyncIterator[Apart]:
    processes = CallProcesses()
    yield Apart(processes)
    await processes.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> tuple[Artifacts, Keep]:
    """The service, and what keeps bytes of bert's task as an artifact."""
    store, blobs = MemoryArtifacts(), MemoryBlobs()
    ids = itertools.count(1)
    service = Artifacts(store, blobs, lambda: 1_000.0, lambda: str(uuid.uuid4()), ArtifactRules())

    async def keep(content: bytes) -> str:
        made = str(uuid.UUID(int=next(ids)))
        origin = Origin(task="task", principal="bert")
        await store.add(Artifact(made, "a", "a/b", "p", len(content), 1.0, origin, ArtifactState.STORED, "0" * 64))
        part = tmp_path / made
        part.write_bytes(content)
        await blobs.put(made, part)
        return made

    return service, keep


@pytest.fixture
def keep(artifacts: tuple[Artifacts, Keep]) -> Keep:
    return artifacts[1]


@pytest.fixture
def material(root: Path, artifacts: tuple[Artifacts, Keep]) -> Material:
    return Material(FileTree(root, 4 << 20), artifacts[0], PRINCIPALS.get)
