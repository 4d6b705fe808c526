"""The database's connection and schema, for operators: `python -m orchestrator.database` and `orchestrator db`.

Belongs to the wiring, as `storage` does: it knows the adapter.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.adapters.sql import migration, schema
from orchestrator.adapters.sql.database import Database, open_database
from orchestrator.adapters.sql.location import PostgresServer, SqliteFile, locate
from orchestrator.domain.errors import ConfigurationError, OrchestratorError
from orchestrator.settings import Settings, load
from orchestrator.storage import MEMORY

CURRENT, HISTORY, CHECK, UPGRADE, DOWNGRADE = "current", "history", "check", "upgrade", "downgrade"


def work(settings: Settings, action: str, revision: str = "") -> Mapping[str, Any]:
    """One of the actions above on the configured database, and what came of it; the first three change nothing.

    Raises ConfigurationError for a database or revision that cannot be used, StorageUnavailable for a database that
    does not answer.
    """
    place = _place(settings)
    if isinstance(place, SqliteFile) and not place.path.exists() and action != UPGRADE:
        raise ConfigurationError(f"{place}: there is no such file; `orchestrator db upgrade` makes it")

    async def run() -> Mapping[str, Any]:
        async with open_database(place, settings.database.timeout) as database:
            return {"database": str(place), **await _ACTIONS[action](database, revision)}

    return asyncio.run(run())


def _place(settings: Settings) -> SqliteFile | PostgresServer:
    if settings.database_url.startswith(MEMORY):
        raise ConfigurationError("The database is in memory: it has no schema, and nothing outlives the process.")
    return locate(settings.database_url)


async def _current(database: Database, _revision: str) -> Mapping[str, Any]:
    return {"revision": await schema.revision(database), "head": schema.HEAD}


async def _history(database: Database, _revision: str) -> Mapping[str, Any]:
    found = await schema.revision(database)
    revisions = migration.history()
    names = [one.revision for one in revisions]
    applied = names[: names.index(found) + 1] if found in names else []
    return {
        "revisions": [
            {"revision": one.revision, "text": one.text, "applied": one.revision in applied} for one in revisions
        ]
    }


async def _check(database: Database, _revision: str) -> Mapping[str, Any]:
    facts = await _current(database, "")
    differences = await migration.differences(database) if facts["revision"] == facts["head"] else []
    return {**facts, "differences": differences, "ok": facts["revision"] == facts["head"] and not differences}


async def _upgrade(database: Database, revision: str) -> Mapping[str, Any]:
    before = await schema.revision(database)
    await (migration.upgrade_to(database, revision) if revision else schema.upgrade(database))
    return {"before": before, "revision": await schema.revision(database)}


async def _downgrade(database: Database, revision: str) -> Mapping[str, Any]:
    before = await schema.revision(database)
    await migration.downgrade(database, revision)
    return {"before": before, "revision": await schema.revision(database)}


_ACTIONS: Mapping[str, Callable[[Database, str], Awaitable[Mapping[str, Any]]]] = {
    CURRENT: _current,
    HISTORY: _history,
    CHECK: _check,
    UPGRADE: _upgrade,
    DOWNGRADE: _downgrade,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Connects to the configured database and says what it found; exit status 1 when it does not answer, 2 when it
    cannot be used as it is configured."""
    parser = argparse.ArgumentParser("python -m orchestrator.database", description=main.__doc__)
    parser.add_argument("--config", type=Path, help="configuration file; otherwise the one that the service would find")
    given = parser.parse_args(arguments)
    try:
        found = work(load(given.config).settings, CURRENT)
    except OrchestratorError as error:
        print(f"Database connection failed: {error.message}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    revision = found["revision"] or "none yet"
    print(f"Database connection successful: {found['database']}, schema {revision} (this release: {found['head']})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
