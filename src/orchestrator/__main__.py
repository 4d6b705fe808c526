"""The `orchestrator` command, also as `python -m orchestrator`. Gives the command line what only bootstrap knows."""

from __future__ import annotations

import asyncio
import sys

from orchestrator.entrypoints import cli
from orchestrator.settings import Loaded, Settings

# bootstrap brings the web framework and the database drivers with it: a second that `orchestrator --help` can do
# without, hence the imports inside.


def serve(loaded: Loaded, started: cli.Started) -> None:
    from orchestrator.bootstrap import run

    run(loaded, started)


def check_storage(settings: Settings) -> None:
    """Opens the database as the service would, migrations included. Raises ConfigurationError, StorageUnavailable."""
    from orchestrator.bootstrap.storage import open_storage

    async def check() -> None:
        async with open_storage(settings) as storage:
            await storage.ping()

    asyncio.run(check())


def main() -> None:
    sys.exit(cli.main(serve=serve, check_storage=check_storage))


if __name__ == "__main__":
    main()
