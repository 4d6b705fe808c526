"""The write-ahead log of a SQLite file, which must not grow for as long as somebody writes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from orchestrator.domain.task.change import Change
from orchestrator.ports.event_log import EventBatch
from orchestrator.storage import open_storage
from task_samples import queued

# Of its header: how often it was begun anew (https://sqlite.org/fileformat2.html#walformat).
ROUND = slice(12, 16)
WRITERS = 3
MOST = 200_000  # writes of each of them


def rounds(log: Path) -> int:
    with log.open("rb") as file:
        return int.from_bytes(file.read(32)[ROUND], "big")


async def test_the_log_begins_anew_while_events_and_tasks_are_written_all_the_time(tmp_path: Path) -> None:
    done = asyncio.Event()
    async with open_storage(f"sqlite:///{tmp_path}/state.db") as storage:

        async def tell(owner: str) -> None:
            for serial in range(1, MOST):
                await storage.event_log.append(owner, serial, EventBatch(0, 1.0, 1, b"x" * 2_000))
                if done.is_set():
                    break

        async def work() -> None:
            assert storage.ledger.pipeline is not None
            writing: asyncio.Task[object] = asyncio.create_task(storage.ledger.commit([Change(queued())]))
            for _ in range(MOST):
                behind = asyncio.create_task(storage.ledger.pipeline.commit_behind([Change(queued())]))
                await writing
                writing = behind
                if done.is_set():
                    break
            await writing

        writing = [asyncio.create_task(tell(f"writer-{number}")) for number in range(WRITERS)]
        writing.append(asyncio.create_task(work()))
        log = tmp_path / "state.db-wal"
        await storage.event_log.append("first", 1, EventBatch(0, 1.0, 1, b"x"))
        begun = rounds(log)
        try:
            async with asyncio.timeout(20):
                while rounds(log) < begun + 2:  # noqa: ASYNC110 - a file tells it
                    await asyncio.sleep(0.05)
        finally:
            done.set()
            await asyncio.gather(*writing)
