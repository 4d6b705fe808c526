"""Results of tasks that are too large for the ledger: they become artifacts, and the result says which."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator

from orchestrator.domain.artifact import Artifact, Origin
from orchestrator.domain.errors import Conflict, NotFound, RequestError, StorageUnavailable
from orchestrator.domain.task.task import Task
from orchestrator.services.artifacts.artifacts import Artifacts
from orchestrator.services.artifacts.described import Described
from orchestrator.services.artifacts.uploads import Uploads
from orchestrator.services.clock import Clock
from orchestrator.services.tasks.report import Report

PIECE = 1 << 20
NAMES = uuid.UUID("5f2b7ac4-5f0c-4f3e-9a53-6d1b9f4f6a10")  # of results: the same attempt always has the same artifact


class Outputs:
    """Keeps large results. The tasks' services call it only for those."""

    def __init__(self, uploads: Uploads, artifacts: Artifacts, clock: Clock) -> None:
        self._uploads = uploads
        self._artifacts = artifacts
        self._clock = clock

    async def keep(self, task: Task, attempt: int, report: Report) -> Report:
        """The report with a pointer in place of the result; a failure where it cannot be kept. Raises
        StorageUnavailable."""
        result = report.result or b""
        most = self._artifacts.rules.max_result
        if len(result) > most:
            size = f"{len(result):,} bytes, at most {most:,} are kept"
            return _failed(report, f"the result is too large: {size}")
        artifact_id = _artifact_id(task, attempt)
        told = Described(
            f"{task.id}.json",
            "application/json",
            Origin(task=task.id, agent=report.agent, principal=task.spec.principal),
            len(result),
            expires_at=self._clock.wall() + self._artifacts.rules.keep_results,
        )
        try:
            artifact = await self._uploads.store(told, _pieces(result), artifact_id)
        except Conflict:
            artifact = await self._kept_before(artifact_id)
        except RequestError as error:  # a quota, for one
            return _failed(report, f"the result cannot be kept: {error.message}")
        return report.with_result(_pointer(artifact))

    async def forget(self, task: Task, attempt: int) -> None:
        """The report was refused."""
        await self._artifacts.remove([_artifact_id(task, attempt)], "deleted")

    async def _kept_before(self, artifact_id: str) -> Artifact:
        """The same report came twice."""
        try:
            return await self._artifacts.get(artifact_id)
        except NotFound:
            raise StorageUnavailable("the same result is being written: try again") from None


def _artifact_id(task: Task, attempt: int) -> str:
    return str(uuid.uuid5(NAMES, f"{task.id}/{task.spec.created_at}/{attempt}"))


def _pointer(artifact: Artifact) -> bytes:
    named = {"artifact_id": artifact.id, "sha256": artifact.sha256, "size_bytes": artifact.size}
    return json.dumps(named | {"url": artifact.pointer}).encode()


def _failed(report: Report, error: str) -> Report:
    return Report(False, error=error, final=True, agent=report.agent, seconds=report.seconds)


async def _pieces(result: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(result), PIECE):
        yield result[begin : begin + PIECE]
