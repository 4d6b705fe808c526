"""The schema's revision: which one a database has, and bringing it to that of this release."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from orchestrator.adapters.sql.database import Database
from orchestrator.domain.errors import ConfigurationError

MIGRATIONS = Path(__file__).parent / "migrations"
# By the names of their files, `vREVISION_about.py`.
KNOWN = tuple(sorted(file.stem[1:].partition("_")[0] for file in MIGRATIONS.glob("versions/v*.py")))
HEAD = KNOWN[-1]
_version = sa.table("alembic_version", sa.column("version_num"))


async def revision(database: Database) -> str:
    """The revision that the database has, empty when it has none."""
    async with database.read() as connection:
        return await connection.run_sync(_revision)


def _revision(connection: sa.Connection) -> str:
    if not sa.inspect(connection).has_table(_version.name):
        return ""
    return connection.execute(sa.select(_version)).scalar() or ""


async def upgrade(database: Database) -> None:
    """Brings the schema to the newest revision. Of several processes that try, one does it and the others wait."""
    found = await revision(database)
    if found and found not in KNOWN:
        raise ConfigurationError(
            f"{database.location}: a newer release wrote this database (schema {found}, this release knows {HEAD}): "
            "install that release or restore a backup"
        )
    if found != HEAD:
        from orchestrator.adapters.sql.migration import upgrade_to

        await upgrade_to(database, HEAD)
