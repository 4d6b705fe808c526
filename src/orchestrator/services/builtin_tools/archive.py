"""Archives of the tools' files."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.tool import SideEffect, Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome, Produced
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.material import MOST, Material, base64_of, kept_as
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    LISTED,
    TEXT,
    Schema,
    choice,
    described,
    fields,
    needs,
    offered,
    results,
)

FORMATS = {
    "zip": ("application/zip", (".zip",)),
    "tar": ("application/x-tar", (".tar",)),
    "tar.gz": ("application/gzip", (".tar.gz", ".tgz")),
    "tar.xz": ("application/x-xz", (".tar.xz", ".txz")),
    "tar.bz2": ("application/x-bzip2", (".tar.bz2", ".tbz2")),
    "tar.zst": ("application/zstd", (".tar.zst", ".tzst")),
}
ACTIONS = ("create", "list", "extract")
TIMEOUT = 300.0
_MADE: dict[str, Schema] = {
    "action": TEXT,
    "format": TEXT,
    "count": COUNT,
    "total": COUNT,
    "size": COUNT,
    "left_out": COUNT,
    "items": {"type": "array", "items": {"type": "object"}},
    "files": {"type": "array", "items": TEXT},
    **dict.fromkeys(("path", "filepath", "artifact_id", "url"), TEXT),
}


def archive_offer() -> Tool:
    path = described(TEXT, "Path of the archive below the tools' folder.", minLength=1)
    takes = {
        "action": choice(ACTIONS, "What to do."),
        "path": path,
        "artifact_id": described(TEXT, "list, extract: or an artifact that is one.", minLength=1),
        "sources": {
            "type": "array",
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
            "maxItems": 1_000,
            "description": "create: files and folders that go in, as paths.",
        },
        "destination": described(TEXT, "extract: folder for what comes out; '.' is the top.", minLength=1),
        "format": choice(FORMATS, "create: else told by the end of path, else zip. tar.zst needs Python 3.14."),
        "overwrite": described(FLAG, "create, extract: replace files that are there.", default=False),
        "limit": described(LISTED, "list: most."),
        "skip": described(COUNT, "list: entries to leave out first.", default=0),
    }
    return offered(
        "archive",
        "files",
        "Makes, lists and takes out archives (zip, tar, tar.gz, tar.xz, tar.bz2) of the tools' folder. create takes "
        "sources and a path; without a path the archive becomes an artifact. Links are never taken in or out; at most "
        "10,000 entries and 1 GiB come out of one archive, and 200 times its own size.",
        SideEffect.WRITE,
        fields(takes, ("action",), allOf=[needs("create", "sources"), needs("extract", "destination")]),
        results(_MADE, ("action", "format", "count")),
        TIMEOUT,
    )


class Archive:
    """`BuiltinTool`. `module` has functions as `adapters.files.archives`; they work below `root`."""

    def __init__(self, material: Material, apart: Apart, module: str, root: str, max_file: int) -> None:
        self.tool = archive_offer()
        self._material = material
        self._apart = apart
        self._module = module
        self._root = root
        self._max_file = max_file

    async def run(self, order: CallOrder) -> CallOutcome:
        ways = {"create": self._create, "list": self._list, "extract": self._extract}
        action = order.arguments["action"]
        told, files = await ways[action](order)
        if "path" in told:
            told["filepath"] = told["path"]
        return CallOutcome({"action": action} | told, files)

    async def _create(self, order: CallOrder) -> tuple[dict[str, Any], tuple[Produced, ...]]:
        given = order.arguments
        kind, path = _format(given), given.get("path")
        told = await self._apart.call(
            f"{self._module}:create",
            root=self._root,
            sources=given["sources"],
            path=path,
            kind=kind,
            overwrite=given.get("overwrite", False),
            max_file=self._max_file,
        )
        if path is not None:
            return told, ()
        content = await asyncio.to_thread(base64.b64decode, told.pop("content"))
        mime_type, ends = FORMATS[kind]
        return told | kept_as(order, 1), (Produced(f"archive{ends[0]}", mime_type, content),)

    async def _list(self, order: CallOrder) -> tuple[dict[str, Any], tuple[Produced, ...]]:
        given = order.arguments
        told = await self._apart.call(
            f"{self._module}:contents",
            root=self._root,
            **await self._source(order),
            limit=given.get("limit", 100),
            skip=given.get("skip", 0),
        )
        return told, ()

    async def _extract(self, order: CallOrder) -> tuple[dict[str, Any], tuple[Produced, ...]]:
        given = order.arguments
        told = await self._apart.call(
            f"{self._module}:extract",
            root=self._root,
            **await self._source(order),
            destination=given["destination"],
            overwrite=given.get("overwrite", False),
            max_file=self._max_file,
        )
        return told, ()

    async def _source(self, order: CallOrder) -> dict[str, Any]:
        given = order.arguments
        if ("path" in given) == ("artifact_id" in given):
            raise InvalidRequest("give one of path, artifact_id")
        if "path" in given:
            return {"path": given["path"], "content": None}
        content = await self._material.artifact(given["artifact_id"], order.principal, MOST)
        return {"path": None, "content": await base64_of(content)}


def _format(given: Mapping[str, Any]) -> str:
    if "format" in given:
        return str(given["format"])
    path = str(given.get("path", "")).lower()
    if not path:
        return "zip"
    for kind, (_, ends) in FORMATS.items():
        if path.endswith(ends):
            return kind
    raise InvalidRequest("format: the path does not tell which", details={"field": "format"})
