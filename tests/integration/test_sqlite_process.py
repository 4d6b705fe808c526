"""The process that writes to the SQLite file: what it promises, and that its death is survived."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from orchestrator.adapters.sql.ledger import WRITING
from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.adapters.sql.sqlite_process import Behind, SqliteProcess
from orchestrator.adapters.sql.sqlite_program import Step
from orchestrator.adapters.sql.sqlite_thread import SqliteThread
from orchestrator.domain.errors import ConfigurationError, StorageUnavailable

NEW: Step = ("CREATE TABLE t (a INTEGER PRIMARY KEY, b)", (), None)
ALL = "SELECT a, b FROM t ORDER BY a"
OWNER = """
import asyncio, sys
from pathlib import Path
from orchestrator.adapters.sql.location import SqliteFile
from orchestrator.adapters.sql.sqlite_process import SqliteProcess

async def main():
    writer = SqliteProcess(SqliteFile(Path(sys.argv[1])), 5.0, ())
    await writer.write([])
    print(writer.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def add(a: int, b: object = None) -> Step:
    return ("INSERT INTO t VALUES (?, ?) ON CONFLICT DO NOTHING", (a, b), 1)


@asynccontextmanager
async def opened(path: Path, timeout: float = 5.0) -> AsyncIterator[SqliteProcess]:
    writer = SqliteProcess(SqliteFile(path), timeout, WRITING)
    try:
        yield writer
    finally:
        await writer.close()


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[SqliteProcess]:
    async with opened(tmp_path / "state.db") as writer:
        await writer.write([NEW])
        yield writer


async def test_steps_are_written_and_the_question_is_asked_at_their_end(writer: SqliteProcess) -> None:
    values = ["text \N{SNOWMAN}", b"\0bytes", 2.5, None, "x" * 3_000_000]
    steps = [add(number, value) for number, value in enumerate(values)]
    assert await writer.write(steps, ALL) == list(enumerate(values))
    assert await writer.write([]) == []


async def test_all_or_nothing(writer: SqliteProcess) -> None:
    assert await writer.write([add(1), add(2), add(1), add(3)], ALL) is None
    with pytest.raises(StorageUnavailable, match="no such table: u"):
        await writer.write([add(4), ("INSERT INTO u VALUES (1)", (), 1)])
    with pytest.raises(RuntimeError, match="OverflowError"):
        await writer.write([add(5), add(1 << 70)])
    assert await writer.write([add(6)], ALL) == [(6, None)]


async def test_what_need_not_be_durable_does_not_wait_for_the_disk(writer: SqliteProcess) -> None:
    found = [await writer.write([], "PRAGMA synchronous", durable=durable) for durable in (True, False, True)]
    assert found == [[(2,)], [(1,)], [(2,)]]


async def test_statements_of_many_rows_need_no_files(writer: SqliteProcess, tmp_path: Path) -> None:
    assert await writer.write([], "PRAGMA temp_store") == [(2,)]
    thread = SqliteThread(SqliteFile(tmp_path / "state.db"), 5.0, "beside", WRITING)
    assert await thread.ask("PRAGMA temp_store") == (2,)
    await thread.close()


async def test_a_file_that_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database, but long enough to be taken for one\n" * 100)
    async with opened(tmp_path / "notes.db") as writer:
        with pytest.raises(ConfigurationError, match="not a SQLite database"):
            await writer.write([NEW])


async def test_another_writer_is_waited_for(tmp_path: Path) -> None:
    async with opened(tmp_path / "state.db", timeout=0.05) as writer:
        await writer.write([NEW])
        with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match="locked"):
                await writer.write([add(1)])
            other.execute("ROLLBACK")
        assert await writer.write([add(2)], ALL) == [(2, None)]


async def test_one_that_died_while_nothing_was_written_is_not_missed(writer: SqliteProcess) -> None:
    assert await writer.write([add(1)]) == []
    os.kill(writer.pid, signal.SIGKILL)
    while _lives(writer.pid):  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0.01)
    assert await writer.write([add(2)], ALL) == [(1, None), (2, None)]


async def test_one_that_dies_in_a_transaction_is_told_and_followed_by_another(writer: SqliteProcess) -> None:
    steps = [add(number, "x" * 1_000) for number in range(100_000)]
    writing = asyncio.create_task(writer.write(steps))
    os.kill(writer.pid, signal.SIGSTOP)  # it has begun at most
    await asyncio.sleep(0.1)
    os.kill(writer.pid, signal.SIGKILL)
    with pytest.raises(StorageUnavailable, match="ended"):
        await writing
    assert await writer.write([add(1)], ALL) == [(1, None)]


async def test_what_is_asked_at_once_is_written_in_that_order_and_each_is_answered(writer: SqliteProcess) -> None:
    asked = [writer.write([add(number)], "SELECT count(*) FROM t", durable=number % 3 > 0) for number in range(50)]
    asked.insert(20, writer.write([add(100), add(3)]))  # a row of another one: it is left out
    found = await asyncio.gather(*asked)
    assert found.pop(20) is None
    assert found == [[(number + 1,)] for number in range(50)]


async def test_what_comes_after_another_is_not_written_without_that_one(writer: SqliteProcess) -> None:
    asked = [
        writer.write([add(1)], number=1),
        writer.write([add(2)], number=2, after=1),
        writer.write([add(3)]),  # has no number: it is between them and nobody comes after it
        writer.write([add(4)], number=3, after=2),
        writer.write([add(5), add(1)], number=4, after=3),  # there is a 1
        writer.write([add(6)], number=5, after=4),
        writer.write([add(7)], number=6, after=5),
        writer.write([add(8)], number=7),
        writer.write([add(9), ("INSERT INTO u VALUES (1)", (), 1)], number=8, after=7),
        writer.write([add(10)], number=9, after=8),
    ]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found[4:]] == [type(None), Behind, Behind, list, StorageUnavailable, Behind]
    assert await writer.write([], ALL) == [(number, None) for number in (1, 2, 3, 4, 8)]


async def test_another_process_knows_nothing_of_what_the_last_one_wrote(writer: SqliteProcess) -> None:
    await writer.write([add(1)], number=1)
    os.kill(writer.pid, signal.SIGKILL)
    while _lives(writer.pid):  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0.01)
    with pytest.raises(Behind):
        await writer.write([add(2)], number=2, after=1)
    assert await writer.write([], ALL) == [(1, None)]


async def test_all_that_wait_are_told_when_it_dies(writer: SqliteProcess) -> None:
    os.kill(writer.pid, signal.SIGSTOP)
    waiting = [asyncio.create_task(writer.write([add(number)])) for number in range(3)]
    await asyncio.sleep(0)  # they have asked
    os.kill(writer.pid, signal.SIGKILL)
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in found] == [StorageUnavailable] * 3
    assert await writer.write([add(9)], ALL) == [(9, None)]


async def test_what_is_given_up_is_written_before_what_comes_after_it_or_not_at_all(writer: SqliteProcess) -> None:
    for number in range(20):
        many = [add(1_000 * number + place, "x" * 1_000) for place in range(1, 500)]
        writing = asyncio.create_task(writer.write(many, "SELECT 'given up'"))
        for _ in range(number):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        # A row of the same number as one of those that were given up: of two writers the later one finds it.
        taken = await writer.write([add(1_000 * number + 1)], f"SELECT b FROM t WHERE a = {1_000 * number + 1}")
        later = await writer.write([], f"SELECT b FROM t WHERE a = {1_000 * number + 1}")
        assert (taken, later) in (([(None,)], [(None,)]), (None, [("x" * 1_000,)]))


async def test_signals_that_end_the_service_do_not_end_it_before_its_time(writer: SqliteProcess) -> None:
    pid = writer.pid
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(pid, number)
    assert await writer.write([add(1)], ALL) == [(1, None)]
    assert writer.pid == pid
    await writer.close()
    assert not _lives(pid)


def test_it_ends_with_its_owner(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path / "state.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert _lives(pid)
        watched = os.pidfd_open(pid)
        owner.kill()
    try:
        assert select.select([watched], [], [], 10)[0], "it is still there"
    finally:
        os.close(watched)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
