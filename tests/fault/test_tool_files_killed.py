"""A process that is killed while it writes a file of the tools' folder: the file is the old one or the new one, whole,
and what was left unfinished goes with the next start."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from orchestrator.adapters.files import FileTree
from orchestrator.adapters.files.root import STALE

SIZE = 3_000_000
WRITER = """
import asyncio, sys
from pathlib import Path
from orchestrator.adapters.files import FileTree

async def main():
    files = FileTree(Path(sys.argv[1]), 1 << 30)
    print("ready", flush=True)
    while True:
        for letter in (b"a", b"b"):
            await files.write("d/file", letter * int(sys.argv[2]))

asyncio.run(main())
"""


def killed_while_it_writes(root: Path, seconds: float) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(root), str(SIZE)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(seconds)
        os.kill(writer.pid, signal.SIGKILL)


async def test_a_file_is_whole_after_a_kill(tmp_path: Path) -> None:
    rand, drafts = random.Random(7), 0
    for _ in range(8):
        killed_while_it_writes(tmp_path, 0.05 + rand.random() / 10)
        found = list((tmp_path / "d").glob("*")) if (tmp_path / "d").exists() else []
        assert [path.name for path in found] in ([], ["file"])
        for path in found:
            content = path.read_bytes()
            assert content in (b"a" * SIZE, b"b" * SIZE)
        drafts += len(os.listdir(tmp_path / ".orchestrator")) if (tmp_path / ".orchestrator").exists() else 0
    assert drafts  # otherwise no kill came in the middle
    files = FileTree(tmp_path, 1 << 30)
    await files.sweep()
    young = os.listdir(tmp_path / ".orchestrator")
    assert young  # another process may still be writing them
    for name in young:
        os.utime(tmp_path / ".orchestrator" / name, (1, time.time() - STALE - 1))
    await files.sweep()
    assert os.listdir(tmp_path / ".orchestrator") == []


async def test_two_that_write_the_same_file_never_mix(tmp_path: Path) -> None:
    files = FileTree(tmp_path, 1 << 30)
    contents = [bytes([65 + number]) * 200_000 for number in range(6)]
    await asyncio.gather(*(files.write("x", content) for content in contents for _ in range(5)))
    assert await files.read("x") in contents
    tries = await asyncio.gather(
        *(files.write("once", content, overwrite=False) for content in contents), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in tries) == 1
