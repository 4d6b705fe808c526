"""Files of the tools' folder: reading, writing and putting in order."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest, NotFound, ToolFailed
from orchestrator.domain.tool import SideEffect
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.files import Entry, Files, ReadableFiles
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    LISTED,
    NUMBER,
    TEXT,
    choice,
    described,
    fields,
    needs,
    offered,
    results,
)

READING = ("read", "list", "exists", "info")
ACTIONS = ("read", "write", "append", "copy", "move", "delete", "list", "exists", "mkdir", "info", "chmod")
ENCODINGS = ("utf-8", "utf-16", "latin-1", "ascii", "base64")
TIMEOUT = 120.0
PATH = described(TEXT, "Path below the tools' folder, such as notes/today.md; no leading slash, no '..'.", minLength=1)
_ENCODING = choice(ENCODINGS, "Of the content; base64 for what is not text.", default="utf-8")
_READ_FIELDS: dict[str, Mapping[str, Any]] = {
    "path": PATH,
    "encoding": _ENCODING,
    "offset": described(COUNT, "read: first byte.", default=0),
    "length": described(COUNT, "read: at most so many bytes."),
    "limit": described(LISTED, "list: entries at most."),
    "skip": described(COUNT, "list: entries to leave out first.", default=0),
}
_WRITE_FIELDS: dict[str, Mapping[str, Any]] = {
    "content": {"description": "write, append: text (or base64, see encoding); any other value is written as JSON."},
    "destination": described(PATH, "copy, move: path of the result."),
    "overwrite": described(FLAG, "write, copy, move: replace a file that is there.", default=True),
    "recursive": described(FLAG, "delete: a folder with all that it holds.", default=False),
    "mode": {"type": "string", "pattern": "^[0246]{3}$", "description": "chmod: such as 644."},
}
_ENTRY = results({"name": TEXT, "path": TEXT, "type": TEXT, "size": COUNT, "modified": NUMBER, "mode": TEXT})
_RESULT = results(
    {
        "action": TEXT,
        "path": TEXT,
        "filepath": TEXT,
        "content": TEXT,
        "encoding": TEXT,
        "size": COUNT,
        "items": {"type": "array", "items": _ENTRY},
        "count": COUNT,
        "total": COUNT,
        "exists": FLAG,
        "type": TEXT,
        "source": TEXT,
        "destination": TEXT,
        "deleted": FLAG,
        "modified": NUMBER,
        "mode": TEXT,
    },
    ("action", "path", "filepath"),
)
Given = Mapping[str, Any]


class FilesystemRead:
    """`BuiltinTool`: looks at files."""

    def __init__(self, files: ReadableFiles) -> None:
        self._files = files
        self._ways: dict[str, Callable[[Given], Awaitable[dict[str, Any]]]] = {
            "read": self._read,
            "list": self._list,
            "exists": self._exists,
            "info": self._info,
        }
        self.tool = offered(
            "filesystem-read",
            "files",
            "Reads and lists files of the tools' folder. Actions: read (content of a file), list (what a folder holds, "
            "path '.' for the top), exists, info.",
            SideEffect.READ,
            fields({"action": choice(READING, "What to do."), **_READ_FIELDS}, ("action", "path")),
            _RESULT,
            TIMEOUT,
        )

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        action = given["action"]
        told = await self._ways[action](given)
        path = told.pop("path", given["path"])
        return CallOutcome({"action": action, "path": path, "filepath": path} | told)

    async def _read(self, given: Given) -> dict[str, Any]:
        content = await self._files.read(given["path"], given.get("offset", 0), given.get("length"))
        encoding = given.get("encoding", "utf-8")
        return {
            "content": await asyncio.to_thread(decoded, content, encoding),
            "encoding": encoding,
            "size": len(content),
        }

    async def _list(self, given: Given) -> dict[str, Any]:
        entries, total = await self._files.page(given["path"], given.get("limit", 100), given.get("skip", 0))
        return {"items": [shown(entry) for entry in entries], "count": len(entries), "total": total}

    async def _exists(self, given: Given) -> dict[str, Any]:
        found = await self._files.info(given["path"])
        return {"exists": found is not None} | ({"type": found.kind} if found else {})

    async def _info(self, given: Given) -> dict[str, Any]:
        found = await self._files.info(given["path"])
        if found is None:
            raise NotFound(f"'{given['path']}' does not exist.", details={"path": given["path"]})
        return {**shown(found)}


class Filesystem(FilesystemRead):
    """`BuiltinTool`: looks at files and changes them."""

    def __init__(self, files: Files) -> None:
        super().__init__(files)
        self._changed = files
        self._ways |= {
            "write": self._write,
            "append": self._append,
            "copy": self._copy,
            "move": self._move,
            "delete": self._delete,
            "mkdir": self._mkdir,
            "chmod": self._chmod,
        }
        conditions = [
            needs("write", "content"),
            needs("append", "content"),
            needs("copy", "destination"),
            needs("move", "destination"),
            needs("chmod", "mode"),
        ]
        takes = {"action": choice(ACTIONS, "What to do."), **_READ_FIELDS, **_WRITE_FIELDS}
        self.tool = offered(
            "filesystem",
            "files",
            "Reads and changes files of the tools' folder. Actions: read, write, append, copy, move, delete, list, "
            "exists, mkdir, info, chmod. Folders above a new file are made; a file is written whole or not at all.",
            SideEffect.WRITE,
            fields(takes, ("action", "path"), allOf=conditions),
            _RESULT,
            TIMEOUT,
        )

    async def _write(self, given: Given) -> dict[str, Any]:
        content = await asyncio.to_thread(encoded, given["content"], given.get("encoding", "utf-8"))
        entry = await self._changed.write(given["path"], content, overwrite=given.get("overwrite", True))
        return {"path": entry.path, "size": entry.size}

    async def _append(self, given: Given) -> dict[str, Any]:
        content = await asyncio.to_thread(encoded, given["content"], given.get("encoding", "utf-8"))
        entry = await self._changed.write(given["path"], content, append=True)
        return {"path": entry.path, "size": entry.size}

    async def _copy(self, given: Given) -> dict[str, Any]:
        return await self._transfer(given, self._changed.copy)

    async def _move(self, given: Given) -> dict[str, Any]:
        return await self._transfer(given, self._changed.move)

    @staticmethod
    async def _transfer(given: Given, way: Callable[..., Awaitable[Entry]]) -> dict[str, Any]:
        entry = await way(given["path"], given["destination"], overwrite=given.get("overwrite", True))
        ends = {"source": given["path"], "destination": entry.path}
        return {"path": entry.path, **ends, "size": entry.size}

    async def _delete(self, given: Given) -> dict[str, Any]:
        await self._changed.delete(given["path"], recursive=given.get("recursive", False))
        return {"deleted": True}

    async def _mkdir(self, given: Given) -> dict[str, Any]:
        entry = await self._changed.make_folder(given["path"])
        return {"path": entry.path, "type": entry.kind}

    async def _chmod(self, given: Given) -> dict[str, Any]:
        entry = await self._changed.set_mode(given["path"], int(given["mode"], 8))
        return {"path": entry.path, "mode": f"{entry.mode:o}"}


def shown(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "path": entry.path,
        "type": entry.kind,
        "size": entry.size,
        "modified": entry.modified,
        "mode": f"{entry.mode:o}",
    }


def decoded(content: bytes, encoding: str) -> str:
    """Raises ToolFailed that says where it is not text."""
    if encoding == "base64":
        return base64.b64encode(content).decode()
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        where = f"byte {error.start:,} is not {encoding}"
        raise ToolFailed(f"The file is not text: {where}. Read it with encoding base64.") from None


def encoded(content: Any, encoding: str) -> bytes:
    """Raises InvalidRequest."""
    if not isinstance(content, str):
        content = json.dumps(content, ensure_ascii=False, indent=2)
    try:
        return base64.b64decode(content, validate=True) if encoding == "base64" else content.encode(encoding)
    except binascii.Error:
        raise InvalidRequest("content: is not base64", details={"field": "content"}) from None
    except UnicodeEncodeError as error:
        text = f"content: character {error.start:,} cannot be written as {encoding}"
        raise InvalidRequest(text, details={"field": "content"}) from None
