"""What a caller wants to be remembered between calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest, QuotaExceeded
from orchestrator.domain.note import MOST_NAME, MOST_NOTES, Note
from orchestrator.domain.tool import SideEffect, Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.notes import NoteStore
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    LISTED,
    NUMBER,
    TEXT,
    Schema,
    choice,
    described,
    fields,
    needs,
    offered,
    results,
)

ACTIONS = ("store", "retrieve", "list", "clear")
DEFAULT = "default"
LONGEST = 10 * 365 * 86_400  # seconds
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": MOST_NAME}
_MOMENT: Schema = {"type": ["number", "null"]}
_MADE: dict[str, Schema] = {
    "action": TEXT,
    "namespace": TEXT,
    "key": TEXT,
    "stored": FLAG,
    "found": FLAG,
    "value": {},
    "metadata": results({"stored_at": NUMBER, "expires_at": _MOMENT, "ttl": _MOMENT}),
    "keys": {"type": "array", "items": TEXT},
    "count": COUNT,
    "total": COUNT,
    "cleared": COUNT,
}


def memory_offer() -> Tool:
    takes = {
        "action": choice(ACTIONS, "What to do. clear without a key forgets the whole namespace."),
        "namespace": described(_NAME, "Keeps names apart.", default=DEFAULT),
        "key": described(_NAME, "Name of the value."),
        "value": {"description": "store: any JSON value, at most 64 KiB."},
        "ttl": {
            "type": "number",
            "minimum": 0,
            "maximum": LONGEST,
            "default": 0,
            "description": "store: seconds until it is forgotten; 0: never.",
        },
        "limit": described(LISTED, "list: most."),
        "skip": described(COUNT, "list: keys to leave out first.", default=0),
    }
    return offered(
        "mcp-memory",
        "memory",
        "Remembers values by namespace and key between calls and restarts, for the caller alone: store, retrieve, "
        "list, clear. A value may be forgotten after ttl seconds.",
        SideEffect.WRITE,
        fields(takes, ("action",), allOf=[needs("store", "key", "value"), needs("retrieve", "key")]),
        results(_MADE, ("action", "namespace")),
        30.0,
    )


class Memory:
    """`BuiltinTool`. Each principal has its own notes."""

    def __init__(self, notes: NoteStore, wall: Callable[[], float], most: int = MOST_NOTES) -> None:
        """`wall` tells the time in seconds since the epoch; `most`: notes of one principal."""
        self.tool = memory_offer()
        self._notes = notes
        self._wall = wall
        self._most = most

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        ways = {"store": self._store, "retrieve": self._retrieve, "list": self._list, "clear": self._clear}
        namespace = given.get("namespace", DEFAULT)
        told = await ways[given["action"]](order.principal, namespace, given)
        return CallOutcome({"action": given["action"], "namespace": namespace} | told)

    async def _store(self, who: str, namespace: str, given: Mapping[str, Any]) -> dict[str, Any]:
        now, ttl = self._wall(), given.get("ttl", 0)
        note = Note(who, namespace, given["key"], given["value"], now, now + ttl if ttl else None)
        if not await self._notes.put(note, self._most):
            raise QuotaExceeded(f"You have {self._most:,} values already: clear some.", details={"limit": self._most})
        return {"key": note.key, "stored": True, "metadata": _metadata(note)}

    async def _retrieve(self, who: str, namespace: str, given: Mapping[str, Any]) -> dict[str, Any]:
        note = await self._notes.get(who, namespace, given["key"], self._wall())
        if note is None:
            return {"key": given["key"], "found": False, "value": None}
        return {"key": note.key, "found": True, "value": note.value, "metadata": _metadata(note)}

    async def _list(self, who: str, namespace: str, given: Mapping[str, Any]) -> dict[str, Any]:
        limit, skip = given.get("limit", 100), given.get("skip", 0)
        keys, total = await self._notes.keys(who, namespace, self._wall(), limit, skip)
        return {"keys": list(keys), "count": len(keys), "total": total}

    async def _clear(self, who: str, namespace: str, given: Mapping[str, Any]) -> dict[str, Any]:
        if "value" in given:
            raise InvalidRequest("value: clear takes none")
        return {"cleared": await self._notes.clear(who, namespace, given.get("key"), self._wall())}


def _metadata(note: Note) -> dict[str, Any]:
    ttl = None if note.expires_at is None else note.expires_at - note.stored_at
    return {"stored_at": note.stored_at, "expires_at": note.expires_at, "ttl": ttl}
