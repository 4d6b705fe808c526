"""What all tests share: databases. Each test gets its own, on real servers that live as long as the session."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpcore2
import pytest

import migrated
from orchestrator.storage import open_storage
from servers import postgres

# Set by the process that runs the session, inherited by xdist's workers.
SHARED = "TEST_SESSION_FOLDER"
SESSION = "TEST_SESSION_PROCESS"
TEMPLATE = "current_schema"


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    if not _is_worker(config):
        os.environ[SHARED] = tempfile.mkdtemp(prefix="tests-")
        os.environ[SESSION] = str(os.getpid())


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config):
        shared = Path(os.environ.pop(SHARED))
        server = postgres.running(shared)
        if server:
            server.stop()
        shutil.rmtree(shared, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def certificates() -> Iterator[None]:
    """The certificates of the authorities, read once and not again for each of thousands of clients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpcore2.default_ssl_context", functools.cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(scope="session")
def postgres_server() -> postgres.PostgresServer:
    """A private PostgreSQL server; started when the first test of the session asks for it."""
    return postgres.start(Path(os.environ[SHARED]), int(os.environ[SESSION]))


@pytest.fixture(scope="session")
def postgres_template(postgres_server: postgres.PostgresServer) -> str:
    """A database with the current schema, to be copied."""
    shared = Path(os.environ[SHARED])
    with postgres.locked(shared):
        if not (shared / TEMPLATE).exists():
            url = postgres_server.create(TEMPLATE)
            # Not on this thread: a test's event loop may be running on it.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, _migrate(url)).result()
            (shared / TEMPLATE).touch()
    return TEMPLATE


async def _migrate(url: str) -> None:
    async with open_storage(url):
        pass


@pytest.fixture
def postgres_url(postgres_server: postgres.PostgresServer, postgres_template: str) -> Iterator[str]:
    """URL of a PostgreSQL database of the test's own, with the current schema and no rows."""
    yield from _database(postgres_server, postgres_template)


@pytest.fixture
def empty_postgres_url(postgres_server: postgres.PostgresServer) -> Iterator[str]:
    """URL of a PostgreSQL database of the test's own, without any table."""
    yield from _database(postgres_server, "template0")


def _database(server: postgres.PostgresServer, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    yield server.create(name, template)
    server.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite file that does not exist yet, in a folder that does not exist yet."""
    return f"sqlite:///{tmp_path}/data/orchestrator.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The test runs once on each database, with the current schema and no rows."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    migrated.place(url)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """The test runs once on each database, without any table."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgres_url")
    return url
