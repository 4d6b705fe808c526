"""SQLite and PostgreSQL: one set of tables, one set of statements."""

from __future__ import annotations

from orchestrator.adapters.sql.database import BUSY_TIMEOUT
from orchestrator.adapters.sql.storage import SqlStorage, open_sql_storage

__all__ = ["BUSY_TIMEOUT", "SqlStorage", "open_sql_storage"]
