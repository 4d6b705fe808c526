"""Opens the database that the settings name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from orchestrator.adapters.sql import open_sql_storage
from orchestrator.ports.store import Storage
from orchestrator.settings import Settings


def open_storage(settings: Settings) -> AbstractAsyncContextManager[Storage]:
    """Raises ConfigurationError for a database that this release cannot use, StorageUnavailable for one away."""
    return open_sql_storage(settings.database_url, busy_timeout=settings.database.timeout)
