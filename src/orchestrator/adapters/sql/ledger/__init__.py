"""The ledger of tasks in SQL: literal statements on connections of its own, as every task passes here three times."""

from orchestrator.adapters.sql.ledger.postgres import PostgresLedger
from orchestrator.adapters.sql.ledger.sqlite import WRITING, SqliteLedger

__all__ = ["WRITING", "PostgresLedger", "SqliteLedger"]
