from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.adapters.sql import open_sql_storage
from orchestrator.domain.node import NodeKind, NodeSpec
from orchestrator.storage import open_storage

# Every process opens the same new database and writes at the same time.
WRITER = """
import asyncio, sys
from orchestrator.domain.breaker_record import BreakerRecord
from orchestrator.domain.node import NodeKind, NodeSpec
from orchestrator.storage import open_storage
async def main(url, me):
    print("ready", flush=True)
    sys.stdin.readline()
    async with open_storage(url) as storage:
        for n in range(25):
            await storage.nodes.put(NodeSpec(f"{me}-{n}", "http://a", NodeKind.OLLAMA))
            await storage.breakers.save([BreakerRecord("shared", "", "open", failure_count=n)])
            await storage.overrides.put({"n": n}, me, float(n))
        print(storage.instance_id, flush=True)
asyncio.run(main(*sys.argv[1:]))
"""

# Says which node is durable, for ever.
ENDLESS = """
import asyncio, sys
from orchestrator.domain.node import NodeKind, NodeSpec
from orchestrator.storage import open_storage
async def main(url):
    async with open_storage(url) as storage:
        n = 0
        while True:
            await storage.nodes.put(NodeSpec(f"n{n}", "http://a", NodeKind.OLLAMA))
            print(n, flush=True)
            n += 1
asyncio.run(main(sys.argv[1]))
"""


@contextmanager
def _program(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _together(url: str) -> set[str]:
    with _program(WRITER, url, "a") as one, _program(WRITER, url, "b") as two:
        for process in (one, two):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (one, two):
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        ids = set()
        for process in (one, two):
            output, errors = process.communicate(timeout=90)
            assert process.returncode == 0, errors
            ids.add(output.strip())
    return ids


async def test_two_processes_on_one_new_database_lose_nothing(empty_database_url: str) -> None:
    ids = await asyncio.to_thread(_together, empty_database_url)
    async with open_storage(empty_database_url) as storage:
        assert ids == {storage.instance_id}
        assert {spec.id for spec in await storage.nodes.list()} == {f"{me}-{n}" for me in "ab" for n in range(25)}
        assert (await storage.breakers.load())["shared"].failure_count == 24
        history = await storage.overrides.history(100)
    assert len({entry.version for entry in history}) == 50
    for me in "ab":
        assert [entry.document["n"] for entry in history if entry.who == me] == list(range(24, -1, -1))


async def test_many_openings_at_once_make_one_schema(empty_database_url: str) -> None:
    async def instance() -> str:
        async with open_sql_storage(empty_database_url) as storage:
            return storage.instance_id

    assert len(set(await asyncio.gather(*(instance() for _ in range(6))))) == 1


def _killed_after(url: str, count: int) -> int:
    with _program(ENDLESS, url) as process:
        assert process.stdout is not None
        last = -1
        while last < count:
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            last = int(line)
        os.kill(process.pid, signal.SIGKILL)
        for line in process.stdout:
            last = int(line)
        return last


async def test_what_was_acknowledged_survives_a_kill(database_url: str) -> None:
    last = await asyncio.to_thread(_killed_after, database_url, 30)
    async with open_storage(database_url) as storage:
        ids = {spec.id for spec in await storage.nodes.list()}
        assert ids >= {f"n{n}" for n in range(last + 1)}
        await storage.nodes.put(NodeSpec("after", "http://a", NodeKind.OLLAMA))
