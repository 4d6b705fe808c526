"""Opens the storage that a database URL names. Belongs to the wiring: it knows more than one adapter."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from orchestrator.adapters.memory import MemoryStorage
from orchestrator.adapters.sql import BUSY_TIMEOUT, open_sql_storage
from orchestrator.ports.store import Storage

MEMORY = "memory:"


@asynccontextmanager
async def open_storage(url: str, *, busy_timeout: float = BUSY_TIMEOUT) -> AsyncGenerator[Storage]:
    """`memory://` (nothing outlives the block), `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.

    `busy_timeout` is how long (seconds) a write waits for another process on the same SQLite file. The schema is
    brought up to date first. Raises `ConfigurationError` for a URL, file, credential or schema that
    cannot be used, and `StorageUnavailable` for a database that does not answer.
    """
    if url.startswith(MEMORY):
        yield MemoryStorage()
        return
    async with open_sql_storage(url, busy_timeout=busy_timeout) as storage:
        yield storage
