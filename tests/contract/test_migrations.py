from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.adapters.sql import migration, schema
from orchestrator.adapters.sql.database import Database, open_database
from orchestrator.adapters.sql.location import locate
from orchestrator.adapters.sql.tables import metadata
from orchestrator.domain.errors import ConfigurationError
from orchestrator.domain.node import NodeKind, NodeSpec
from orchestrator.storage import open_storage


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    async with open_database(locate(empty_database_url)) as opened:
        yield opened


async def _tables(database: Database) -> set[str]:
    async with database.read() as connection:
        names = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
    return {name for name in names if "_texts_fts" not in name}  # what FTS5 makes for itself


async def test_upgrade_from_empty_downgrade_to_base_and_up_again(database: Database) -> None:
    assert await schema.revision(database) == ""
    for _ in range(2):
        await schema.upgrade(database)
        assert await _tables(database) == {*metadata.tables, "alembic_version"}
        await migration.downgrade(database)
        assert await _tables(database) == {"alembic_version"}
        assert await schema.revision(database) == ""


COMPARED = {"compare_type": True, "compare_server_default": True}


def _difference(connection: sa.Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={**COMPARED, "include_object": migration.compared})
    found: list[object] = compare_metadata(context, metadata)
    return found


async def test_migrations_build_exactly_the_tables_of_the_code(database: Database) -> None:
    await schema.upgrade(database)
    async with database.read() as connection:
        assert await connection.run_sync(_difference) == []


async def test_rows_have_the_same_primary_keys(database: Database) -> None:
    def keys(connection: sa.Connection) -> dict[str, list[str]]:
        inspector = sa.inspect(connection)
        return {name: inspector.get_pk_constraint(name)["constrained_columns"] for name in metadata.tables}

    await schema.upgrade(database)
    async with database.read() as connection:
        found = await connection.run_sync(keys)
    assert found == {name: [column.name for column in table.primary_key] for name, table in metadata.tables.items()}


async def test_a_failed_migration_leaves_nothing_behind(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(sa.text("CREATE TABLE api_keys (id INTEGER)"))
    with pytest.raises(Exception, match="api_keys"):
        await schema.upgrade(database)
    assert await _tables(database) == {"api_keys"}


async def test_a_database_of_a_newer_release_is_refused_and_untouched(database: Database) -> None:
    await schema.upgrade(database)
    async with database.write() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer release wrote this database"):
        await schema.upgrade(database)
    assert await schema.revision(database) == "9999"


def test_the_revisions_by_their_files_are_those_of_the_migrations() -> None:
    assert [one.revision for one in migration.history()] == list(schema.KNOWN)


async def test_opening_an_old_database_upgrades_it(empty_database_url: str) -> None:
    async with open_storage(empty_database_url) as storage:
        version = await storage.schema_version()
        await storage.nodes.put(NodeSpec("a", "http://a", NodeKind.DEMO))
    assert version == ScriptDirectory.from_config(migration.configuration()).get_current_head()
    async with open_storage(empty_database_url) as storage:
        await storage.upgrade()
        assert await storage.schema_version() == version
        assert len(await storage.nodes.list()) == 1
