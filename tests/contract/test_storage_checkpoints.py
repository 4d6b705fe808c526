"""No commit moves SQLite's log to its place: something beside them does, as long as the storage is open."""

from __future__ import annotations

from orchestrator.adapters.sql.location import SqliteFile, locate
from orchestrator.storage import open_storage
from task_load import until
from task_samples import keep, queued

LARGE = 1 << 20  # bytes


async def test_what_is_written_comes_to_its_place_while_the_storage_is_open(sqlite_url: str) -> None:
    location = locate(sqlite_url)
    assert isinstance(location, SqliteFile)
    async with open_storage(sqlite_url) as storage:
        for part in range(4):
            await keep(storage.ledger, *(queued(f"{part}-{one}", input=b'"%b"' % (b"x" * 20_000)) for one in range(40)))
        await until(lambda: location.path.stat().st_size > 3 * LARGE, 20.0)
        assert len(await storage.ledger.get([f"{part}-{one}" for part in range(4) for one in range(40)])) == 160
