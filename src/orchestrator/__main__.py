"""The `orchestrator` command, also as `python -m orchestrator`. Gives the command line what only bootstrap knows."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.entrypoints import cli
    from orchestrator.settings import Loaded, Settings

# The web framework and the database drivers take two seconds that `orchestrator --help` can do without, hence the
# imports inside.


@contextmanager
def importing() -> Iterator[None]:
    """Without the garbage collector: looking again and again at what imports make, nearly all of which stays, takes a
    sixth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def serve(loaded: Loaded, started: cli.Started, told: cli.Told | None = None) -> None:
    """Runs the service until SIGTERM or SIGINT; with `told`, in another process, which is followed by the next when it
    dies."""
    with importing():
        from orchestrator.bootstrap import run, watched

    run(loaded, started, sockets=watched(loaded, told) if told is not None else ())


def look_at_storage(settings: Settings) -> str:
    """The database and its schema, in words; nothing is made or migrated. Raises ConfigurationError and
    StorageUnavailable."""
    from orchestrator.adapters.sql import schema
    from orchestrator.adapters.sql.database import open_database
    from orchestrator.adapters.sql.location import SqliteFile, locate
    from orchestrator.storage import MEMORY

    if settings.database_url.startswith(MEMORY):
        return "in memory: nothing outlives the process"
    place = locate(settings.database_url)
    if isinstance(place, SqliteFile) and not place.path.exists():
        return f"{place} (made at the first start)"

    async def look() -> str:
        async with open_database(place, settings.database.timeout) as database:
            return await schema.revision(database)

    revision = asyncio.run(look())
    return f"{place}, schema {revision}" if revision else f"{place}, empty (tables are made at the first start)"


def schema(settings: Settings, action: str, revision: str) -> Mapping[str, Any]:
    """See `orchestrator.database.work`."""
    from orchestrator.database import work

    return work(settings, action, revision)


def main() -> None:
    with importing():
        from orchestrator.entrypoints import cli

    sys.exit(cli.main(serve=serve, look_at_storage=look_at_storage, schema=schema))


if __name__ == "__main__":
    main()
