"""The schema's revision: which one a database has, and how it gets another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.adapters.sql.database import Database
from orchestrator.domain.errors import ConfigurationError

MIGRATIONS = Path(__file__).parent / "migrations"
Action = Callable[[Config, str], None]
LOCK = 0x6F726368  # "orch": the advisory lock of PostgreSQL under which one process migrates


def configuration(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


async def revision(database: Database) -> str:
    """The revision that the database has, empty when it has none."""
    async with database.read() as connection:
        return await connection.run_sync(_revision)


async def upgrade(database: Database) -> None:
    """Brings the schema to the newest revision. Of several processes that try, one does it and the others wait."""
    scripts = ScriptDirectory.from_config(configuration())
    head = scripts.get_current_head() or ""
    known = {script.revision for script in scripts.walk_revisions()}
    found = await revision(database)
    if found and found not in known:
        raise ConfigurationError(
            f"{database.location}: a newer release wrote this database (schema {found}, this release knows {head}): "
            "install that release or restore a backup"
        )
    if found != head:
        await _migrate(database, command.upgrade, "head")


async def downgrade(database: Database, target: str = "base") -> None:
    """Takes the schema back. What only the newer revision can hold is lost."""
    await _migrate(database, command.downgrade, target)


async def _migrate(database: Database, action: Action, target: str) -> None:
    # On SQLite the transaction itself is the lock.
    async with database.write() as connection:
        if database.dialect == "postgresql":
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        await connection.run_sync(lambda sync: action(configuration(sync), target))


def _revision(connection: sa.Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""
