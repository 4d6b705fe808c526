"""`TaskLogStore` on every store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.domain.errors import InvalidRequest
from orchestrator.ports.store import Storage
from orchestrator.ports.task_logs import LogLine, LogPage
from task_samples import finished, keep, queued

MANY = (1_000_000, 1_000_000)


def lines(*messages: str, attempt: int = 1) -> list[LogLine]:
    return [LogLine(0, 1_763_690_000.5, attempt, "info", message) for message in messages]


def texts(found: Sequence[LogLine]) -> list[tuple[int, str]]:
    return [(line.number, line.message) for line in found]


async def test_lines_come_back_as_they_were_put(storage: Storage) -> None:
    said = [LogLine(0, 1.25, 1, "error", "größe 🚚\n'); DROP TABLE task_logs"), LogLine(0, 2.5, 1, "info", "")]
    assert await storage.task_logs.append("t", said, *MANY) == 2
    assert await storage.task_logs.append("t", lines("later", attempt=2), *MANY) == 3
    page = await storage.task_logs.page("t", 0, 10)
    assert page == LogPage(
        (replace(said[0], number=1), replace(said[1], number=2), replace(lines("later", attempt=2)[0], number=3)), 3, 0
    )


async def test_pages(storage: Storage) -> None:
    for start in range(0, 20, 4):
        await storage.task_logs.append("t", lines(*(str(n) for n in range(start, start + 4))), *MANY)
    await storage.task_logs.append("other", lines("other"), *MANY)
    found: list[tuple[int, str]] = []
    after = 0
    while page := (await storage.task_logs.page("t", after, 3)).lines:
        assert len(page) <= 3
        found += texts(page)
        after = page[-1].number
    assert found == [(n + 1, str(n)) for n in range(20)]
    assert await storage.task_logs.page("nobody", 0, 3) == LogPage()
    assert await storage.task_logs.page("\0", 0, 3) == LogPage()


async def test_the_newest_lines_are_kept(storage: Storage) -> None:
    for number in range(10):
        await storage.task_logs.append("t", lines(str(number)), 4, 1_000)
    page = await storage.task_logs.page("t", 0, 100)
    assert texts(page.lines) == [(7, "6"), (8, "7"), (9, "8"), (10, "9")]
    assert (page.last, page.dropped) == (10, 6)
    await storage.task_logs.append("t", lines("é" * 30, "b"), 4, 62)
    page = await storage.task_logs.page("t", 0, 100)
    assert (texts(page.lines), page.dropped) == ([(10, "9"), (11, "é" * 30), (12, "b")], 9)


async def test_what_cannot_be_kept_is_refused(storage: Storage) -> None:
    with pytest.raises(InvalidRequest):
        await storage.task_logs.append("t", lines("\0"), *MANY)
    assert await storage.task_logs.page("t", 0, 3) == LogPage()


async def test_lines_of_tasks_that_are_gone_go(storage: Storage) -> None:
    await keep(storage.ledger, queued("kept"))
    await finished(storage.ledger, queued("ended"))
    for task_id in ("a-gone", "ended", "kept", "z-gone"):
        await storage.task_logs.append(task_id, lines("x"), *MANY)
    after, total, looks = "", 0, 0
    while looks == 0 or after:
        after, gone = await storage.task_logs.forget_orphans(after, 2)
        total, looks = total + gone, looks + 1
    left = [one for one in ("a-gone", "ended", "kept", "z-gone") if (await storage.task_logs.page(one, 0, 1)).lines]
    assert (total, left) == (2, ["ended", "kept"])
