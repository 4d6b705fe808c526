"""SQLite files with the current schema and no rows: copies of one that is made once per session, as making one takes a
quarter of a second and the tests want thousands."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator.storage import open_storage

SQLITE = "sqlite:///"
NAME = "current_schema.db"


def place(url: str) -> None:
    """Puts one where the URL of a SQLite file says, unless there is a file. Other URLs are left alone."""
    file = Path(url.removeprefix(SQLITE))
    if not url.startswith(SQLITE) or "?" in url or file.exists() or file.is_symlink():
        return
    source = _template(Path(os.environ["TEST_SESSION_FOLDER"]))
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, file)  # with its mode, too


def _template(shared: Path) -> Path:
    made = shared / NAME
    if not made.exists():
        with (shared / "sqlite.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                draft = shared / f"draft-{NAME}"
                # Not on this thread: a test's event loop may be running on it.
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(asyncio.run, _make(f"{SQLITE}{draft}")).result()
                draft.rename(made)
    return made


async def _make(url: str) -> None:
    async with open_storage(url):
        pass
