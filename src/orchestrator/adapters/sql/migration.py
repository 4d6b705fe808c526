"""How a schema gets another revision. Apart from `schema`, as Alembic takes long to import and few starts need it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from orchestrator.adapters.sql import (
    artifact_tables,
    mcp_servers,
    notes,
    registry_tables,
    tables,
    text_tables,
    tool_call_tables,
)
from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.schema import MIGRATIONS
from orchestrator.domain.errors import ConfigurationError

Action = Callable[[Config, str], None]
MODULES = (
    tables,
    registry_tables,
    artifact_tables,
    text_tables,
    tool_call_tables,
    mcp_servers,
    notes,
)  # to import them is to have their tables in the metadata
LOCK = 0x6F726368  # "orch": the advisory lock of PostgreSQL under which one process migrates


def configuration(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@dataclass(frozen=True, slots=True)
class Revision:
    """One step of the schema; `text` says what it is about."""

    revision: str
    text: str


def history() -> list[Revision]:
    """All revisions, the oldest first."""
    scripts = ScriptDirectory.from_config(configuration()).walk_revisions()
    return [Revision(one.revision, one.doc) for one in scripts][::-1]


async def differences(database: Database) -> list[str]:
    """What of the tables and indexes is not as this release makes them; empty when all is well."""

    def compare(connection: sa.Connection) -> list[str]:
        options = {"compare_type": True, "compare_server_default": True, "include_object": compared}
        context = MigrationContext.configure(connection, opts=options)
        return [_told(one) for one in compare_metadata(context, MODULES[0].metadata)]

    async with database.read() as connection:
        return await connection.run_sync(compare)


def compared(_item: object, name: str | None, kind: str, reflected: bool, _other: object) -> bool:
    """Not what Alembic cannot compare: indexes with GIN or in descending order, and SQLite's tables of FTS5."""
    if kind == "table":
        return "_texts_fts" not in (name or "")
    return not (kind == "index" and reflected and (name or "").endswith(("_gin", "_desc")))


def _told(difference: Any) -> str:
    """Alembic tells a change as a tuple, and those of columns as a list of them."""
    if isinstance(difference, list):
        return "; ".join(_told(one) for one in difference)
    what, *rest = difference
    names = [getattr(one, "name", one) for one in rest if isinstance(one, str) or getattr(one, "name", None)]
    return " ".join([str(what).replace("_", " "), *map(str, names)])


async def upgrade_to(database: Database, target: str) -> None:
    """Brings the schema to a revision that may not be the newest. Raises ConfigurationError for an unknown one."""
    await _migrate(database, command.upgrade, target)


async def downgrade(database: Database, target: str = "base") -> None:
    """Takes the schema back. What only the newer revision can hold is lost."""
    await _migrate(database, command.downgrade, target)


async def _migrate(database: Database, action: Action, target: str) -> None:
    # On SQLite the transaction itself is the lock.
    async with database.write() as connection:
        if database.dialect == "postgresql":
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        try:
            await connection.run_sync(lambda sync: action(configuration(sync), target))
        except CommandError as error:
            raise ConfigurationError(f"{database.location}: {error}") from error
