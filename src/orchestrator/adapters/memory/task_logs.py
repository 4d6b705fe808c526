"""Log lines of tasks in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from orchestrator.adapters.memory.ledger import MemoryLedger
from orchestrator.domain.storable import check_storable, is_key
from orchestrator.ports.task_logs import LogLine, LogPage


@dataclass(slots=True)
class _Kept:
    last: int = 0
    portions: list[list[LogLine]] = field(default_factory=list)

    @property
    def lines(self) -> list[LogLine]:
        return [line for portion in self.portions for line in portion]


class MemoryTaskLogs:
    """`TaskLogStore` in a dict."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self._kept: dict[str, _Kept] = {}

    async def append(self, task: str, lines: Sequence[LogLine], most_lines: int, most_bytes: int) -> int:
        check_storable(lines, task)
        kept = self._kept.setdefault(task, _Kept())
        kept.portions.append([replace(line, number=kept.last + place) for place, line in enumerate(lines, 1)])
        kept.last += len(lines)
        while len(kept.portions) > 1:
            size = sum(len(line.message.encode()) for line in kept.lines)
            if len(kept.lines) <= most_lines and size <= most_bytes:
                break
            del kept.portions[0]
        return kept.last

    async def page(self, task: str, after: int, limit: int) -> LogPage:
        kept = self._kept.get(task) if is_key(task) else None
        if kept is None:
            return LogPage()
        lines = kept.lines
        found = tuple(line for line in lines if line.number > after)[:limit]
        return LogPage(found, kept.last, kept.last - len(lines))

    async def forget_orphans(self, after: str, limit: int) -> tuple[str, int]:
        looked = sorted(task for task in self._kept if task > after)[:limit]
        there = await self._ledger.get(looked)
        gone = [task for task in looked if task not in there]
        for task in gone:
            del self._kept[task]
        return (looked[-1] if len(looked) == limit else ""), len(gone)
