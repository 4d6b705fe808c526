"""What a call leaves behind: its result as JSON, checked, and artifacts for files and for a result that is large."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from orchestrator.domain.artifact import Artifact, Origin
from orchestrator.domain.errors import Conflict, ToolFailed
from orchestrator.domain.tool import Tool, ToolSource
from orchestrator.domain.tool_call import INLINE_LIMIT, CallOutcome, Produced, ToolCall
from orchestrator.ports.schemas import Schemas
from orchestrator.services.artifacts import Artifacts, Described, Uploads

MOST_FILES = 64  # of one call
PIECE = 1 << 20
NAMES = uuid.UUID("b0a3c1f4-7a56-4b0e-8d5e-2f6a9c1d7e43")  # the same file of a call always has the same artifact


class InvalidResult(ToolFailed):
    """The tool's result is not what its output schema says."""

    code = "invalid_result"


class Results:
    """Keeps what comes out of calls."""

    def __init__(self, schemas: Schemas, uploads: Uploads, artifacts: Artifacts) -> None:
        self._schemas = schemas
        self._uploads = uploads
        self._artifacts = artifacts

    async def keep(self, call: ToolCall, tool: Tool, outcome: CallOutcome) -> tuple[Any, tuple[str, ...]]:
        """The result as it goes into the record, and the artifacts. Raises InvalidResult, what `Uploads.store` raises,
        and ToolFailed for too many files; some artifacts may be there then: see `forget`."""
        if len(outcome.files) > MOST_FILES:
            raise ToolFailed(f"the tool made {len(outcome.files)} files; a call may make {MOST_FILES}")
        encoded = _encoded(outcome.result)
        result = msgspec.json.decode(encoded)
        if tool.output_schema is not None:
            problems = self._schemas.violations(tool.output_schema, result)
            if problems:
                raise InvalidResult(details={"problems": problems})
        made = [await self._store(call, tool, number, file) for number, file in enumerate(outcome.files, 1)]
        if len(encoded) > INLINE_LIMIT:
            whole = await self._store(call, tool, 0, Produced(f"{call.id}.json", "application/json", encoded))
            made.append(whole)
            result = {
                "artifact_id": whole.id,
                "sha256": whole.sha256,
                "size_bytes": whole.size,
                "url": whole.pointer,
            }
        return result, tuple(one.id for one in made)

    async def forget(self, call_id: str) -> None:
        """Deletes whatever the call has left so far."""
        await self._artifacts.remove([artifact_id(call_id, number) for number in range(MOST_FILES + 1)], "deleted")

    async def _store(self, call: ToolCall, tool: Tool, number: int, file: Produced) -> Artifact:
        origin = Origin(
            tool.tool_id if tool.source is ToolSource.REGISTRY else None,
            call.task or "",
            call.run or "",
            call.agent or "",
            call.principal,
            call=call.id,
        )
        told = Described(file.file_name, file.mime_type, origin, len(file.content))
        try:
            return await self._uploads.store(told, _pieces(file.content), artifact_id(call.id, number))
        except Conflict as error:
            raise ToolFailed(f"the file '{file.file_name}' cannot be kept: {error.message}") from None


def artifact_id(call_id: str, number: int) -> str:
    return str(uuid.uuid5(NAMES, f"{call_id}/{number}"))


def _encoded(result: Any) -> bytes:
    try:
        return msgspec.json.encode(result)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidResult(f"the tool's result is no JSON value: {error}") from None


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(content), PIECE):
        yield content[begin : begin + PIECE]
