"""What a tool works on and what it makes: files of the tools' folder, artifacts, and base64 in the call itself."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.artifact import content_path
from orchestrator.domain.errors import Forbidden, InvalidRequest, TooLarge
from orchestrator.domain.tool_call import CallOrder, Produced
from orchestrator.ports.files import Files
from orchestrator.services.artifacts import Artifacts
from orchestrator.services.builtin_tools.offer import FLAG, TEXT, Schema, described
from orchestrator.services.tool_calls.results import artifact_id

MOST = 32 << 20  # bytes that come in or go out as one piece
OUTPUT: dict[str, Schema] = {
    "output_path": described(TEXT, "Also written to this path below the tools' folder.", minLength=1),
    "overwrite": described(FLAG, "Replace a file that is there.", default=True),
    "keep": described(FLAG, "Kept as an artifact.", default=True),
}
OUTPUT_RESULT: dict[str, Schema] = {
    "path": TEXT,
    "filepath": TEXT,
    "file_path": TEXT,
    "output_path": TEXT,
    "artifact_id": TEXT,
    "url": TEXT,
}


def source(*names: str) -> dict[str, Schema]:
    """Fields of which one says where the content is; `names` are those for paths."""
    path = described(TEXT, "Path below the tools' folder.", minLength=1)
    return {
        **dict.fromkeys(names, path),
        "artifact_id": described(TEXT, "Or an artifact.", minLength=1),
        "content": described(TEXT, "Or the content itself, as base64."),
    }


@dataclass(frozen=True, slots=True)
class Material:
    """`known` is the principal of an id, None when there is none any more."""

    files: Files
    artifacts: Artifacts
    known: Callable[[str], Principal | None]

    async def content(self, order: CallOrder, names: tuple[str, ...] = ("path",), most: int = MOST) -> bytes:
        """The bytes that the arguments point at. Raises InvalidRequest unless exactly one of them does, TooLarge."""
        given = order.arguments
        told = [name for name in (*names, "artifact_id", "content") if name in given]
        if len(told) != 1:
            raise InvalidRequest(f"give one of {', '.join((*names, 'artifact_id', 'content'))}")
        value = given[told[0]]
        if told[0] == "content":
            return await asyncio.to_thread(_inline, value, most)
        if told[0] == "artifact_id":
            return await self.artifact(value, order.principal, most)
        found = await self.files.info(value)
        if found is not None and found.size > most:
            raise _too_large(found.size, most)
        return await self.files.read(value)

    async def artifact(self, artifact_id: str, principal: str, most: int = MOST) -> bytes:
        """Its bytes. Raises NotFound, Forbidden, Conflict, TooLarge."""
        who = self.known(principal)
        if who is None or not allowed(who, Permission.ARTIFACTS_READ):
            raise Forbidden("You may not read artifacts.")
        found = await self.artifacts.get(artifact_id)
        self.artifacts.readable(found, who)
        if found.size > most:
            raise _too_large(found.size, most)
        return b"".join([piece async for piece in self.artifacts.content(found, 0, found.size)])

    async def kept(
        self, order: CallOrder, file_name: str, mime_type: str, content: bytes, number: int = 1
    ) -> tuple[dict[str, Any], tuple[Produced, ...]]:
        """Writes the content where the arguments say; the result's fields, and the artifact to be. `number`: which of
        the call's artifacts it is."""
        given = order.arguments
        told: dict[str, Any] = {}
        if "output_path" in given:
            told |= await self.written(given["output_path"], content, given)
        if not given.get("keep", True):
            if not told:
                raise InvalidRequest("keep: without an output_path the result would be lost")
            return told, ()
        return told | kept_as(order, number), (Produced(file_name, mime_type, content),)

    async def written(self, path: str, content: bytes, given: Mapping[str, Any]) -> dict[str, Any]:
        entry = await self.files.write(path, content, overwrite=given.get("overwrite", True))
        return dict.fromkeys(("path", "filepath", "file_path", "output_path"), entry.path)


async def base64_of(content: bytes) -> str:
    """In a thread: it may be tens of MiB."""
    return (await asyncio.to_thread(base64.b64encode, content)).decode()


def kept_as(order: CallOrder, number: int) -> dict[str, str]:
    """How a result names the call's artifact of this number (from 1)."""
    made = artifact_id(order.call_id, number)
    return {"artifact_id": made, "url": content_path(made)}


def file_name_of(given: Mapping[str, Any], otherwise: str) -> str:
    """The name for an artifact."""
    name = str(given.get("output_path", "")).rstrip("/").rpartition("/")[2]
    return name or otherwise


def _inline(text: str, most: int) -> bytes:
    if len(text) > most * 4 // 3 + 4:
        raise _too_large(len(text) * 3 // 4, most)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidRequest("content: is not base64", details={"field": "content"}) from None


def _too_large(size: int, most: int) -> TooLarge:
    return TooLarge(f"{size:,} bytes are over the limit of {most:,} bytes.", details={"limit": most})
