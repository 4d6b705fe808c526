"""Run by Alembic, on a connection of the async engine, in the transaction of `migration.py` that holds the lock."""

from __future__ import annotations

from alembic import context

from orchestrator.adapters.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters a table by copying it.
    render_as_batch=True,
    # Both databases roll schema changes back; Alembic does not expect it of SQLite, because its driver used to commit.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
