"""Notes in memory."""

from __future__ import annotations

from orchestrator.domain.note import Note, check_note


class MemoryNotes:
    """`NoteStore` in a dict."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str, str], Note] = {}

    async def put(self, note: Note, most: int) -> bool:
        check_note(note)
        self._expire(note.principal, note.stored_at)
        name = (note.principal, note.namespace, note.key)
        if name not in self._all and sum(one == note.principal for one, _, _ in self._all) >= most:
            return False
        self._all[name] = note
        return True

    async def get(self, principal: str, namespace: str, key: str, now: float) -> Note | None:
        self._expire(principal, now)
        return self._all.get((principal, namespace, key))

    async def keys(
        self, principal: str, namespace: str, now: float, limit: int, skip: int
    ) -> tuple[tuple[str, ...], int]:
        self._expire(principal, now)
        found = sorted((name[2] for name in self._all if name[:2] == (principal, namespace)), key=str.encode)
        return tuple(found[skip : skip + limit]), len(found)

    async def clear(self, principal: str, namespace: str, key: str | None, now: float) -> int:
        self._expire(principal, now)
        gone = [name for name in self._all if name[:2] == (principal, namespace) and key in (None, name[2])]
        for name in gone:
            del self._all[name]
        return len(gone)

    def _expire(self, principal: str, now: float) -> None:
        for name, note in list(self._all.items()):
            if name[0] == principal and note.expires_at is not None and note.expires_at <= now:
                del self._all[name]
