"""Events in SQL. What happens many times a second is written on connections of its own."""

from orchestrator.adapters.sql.event_log.postgres import PostgresEventLog
from orchestrator.adapters.sql.event_log.sqlite import SqliteEventLog

__all__ = ["PostgresEventLog", "SqliteEventLog"]
