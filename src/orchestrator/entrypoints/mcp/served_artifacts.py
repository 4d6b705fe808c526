"""Our artifacts as resources."""

from __future__ import annotations

import base64

import mcp_types as types
from mcp import MCPError

from orchestrator.domain.access import Principal
from orchestrator.domain.artifact import Artifact, ArtifactState
from orchestrator.domain.errors import OrchestratorError
from orchestrator.entrypoints.mcp.naming import TEMPLATE, artifact_of, artifact_uri
from orchestrator.entrypoints.mcp.served_tools import PAGE, read_cursor
from orchestrator.ports.artifacts import ArtifactQuery
from orchestrator.services.artifacts import Artifacts
from orchestrator.services.artifacts.artifacts import may_read

MOST_BYTES = 4 << 20  # of a resource that is read
_TEXT = ("text/", "application/json", "application/xml", "application/yaml", "image/svg+xml")


class ServedArtifacts:
    """What `resources/list`, `resources/templates/list` and `resources/read` do."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    async def page(self, cursor: str | None, who: Principal) -> types.ListResourcesResult:
        """Artifacts with bytes here that are for this principal, newest first. Raises MCPError."""
        skip = read_cursor(cursor)
        found = await self._artifacts.page(ArtifactQuery(state=ArtifactState.STORED, limit=PAGE, offset=skip))
        shown = [described(artifact) for artifact in found if may_read(who, artifact)]
        following = str(skip + PAGE) if len(found) == PAGE else None
        return types.ListResourcesResult(resources=shown, next_cursor=following, ttl_ms=0, cache_scope="private")

    def templates(self) -> types.ListResourceTemplatesResult:
        one = types.ResourceTemplate(
            name="artifact", uri_template=TEMPLATE, description="What a tool, task or person left here, by its id."
        )
        return types.ListResourceTemplatesResult(resource_templates=[one], ttl_ms=3_600_000, cache_scope="public")

    async def read(self, uri: str, who: Principal) -> types.ReadResourceResult:
        """Raises MCPError."""
        artifact_id = artifact_of(uri)
        if artifact_id is None:
            raise MCPError(types.INVALID_PARAMS, f"Resources here are {TEMPLATE}", {"uri": uri[:1_000]})
        try:
            artifact = await self._artifacts.get(artifact_id)
            self._artifacts.readable(artifact, who)
            if artifact.size > MOST_BYTES:
                where = f"GET {artifact.pointer}"
                raise MCPError(types.INVALID_REQUEST, f"Over {MOST_BYTES} bytes; its bytes are had by {where}")
            pieces = [piece async for piece in self._artifacts.content(artifact, 0, artifact.size)]
        except OrchestratorError as error:
            raise MCPError(types.INVALID_PARAMS, error.message, {"code": error.code, "uri": uri}) from None
        contents = _contents(artifact, uri, b"".join(pieces))
        return types.ReadResourceResult(contents=[contents], ttl_ms=0, cache_scope="private")


def described(artifact: Artifact) -> types.Resource:
    return types.Resource(
        name=artifact.file_name, uri=artifact_uri(artifact.id), mime_type=artifact.mime_type, size=artifact.size
    )


def _contents(artifact: Artifact, uri: str, content: bytes) -> types.TextResourceContents | types.BlobResourceContents:
    kind = artifact.mime_type
    if kind.startswith(_TEXT) or kind.partition(";")[0].endswith("+json"):
        try:
            return types.TextResourceContents(uri=uri, mime_type=kind, text=content.decode())
        except UnicodeDecodeError:
            pass
    return types.BlobResourceContents(uri=uri, mime_type=kind, blob=base64.b64encode(content).decode())
