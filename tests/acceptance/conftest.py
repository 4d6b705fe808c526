"""Fixtures of the tests with real clients (`live_fleet` has the fleet) and of the registry's checks."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from live_fleet import MODELS, LiveFleet, live_fleet
from registry_contract import Registry, emptied, registry, registry_process

from servers.postgres import PostgresServer
from service import SpawnedService


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveFleet]:
    with live_fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest.fixture
def fleet(_running: LiveFleet) -> Iterator[LiveFleet]:
    """The fleet, with fakes that behave and have received nothing."""
    for fake in _running.fakes.values():
        fake.reset()
    yield _running
    for fake in _running.fakes.values():
        fake.reset()


@pytest.fixture(params=list(MODELS))
def kind(request: pytest.FixtureRequest) -> str:
    """The test runs once for each kind of node."""
    return str(request.param)


@pytest.fixture
def model(kind: str) -> str:
    """A model that only nodes of `kind` have."""
    return MODELS[kind]


@pytest.fixture(scope="module")
def sqlite_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpawnedService]:
    folder = tmp_path_factory.mktemp("registry")
    with registry_process(f"sqlite:///{folder}/registry.db", folder) as running:
        yield running


@pytest.fixture(scope="module")
def postgresql_process(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SpawnedService]:
    name = f"registry_{uuid.uuid4().hex}"
    with registry_process(postgres_server.create(name), tmp_path_factory.mktemp("registry")) as running:
        yield running
    postgres_server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql", "sqlite_process", "postgresql_process"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Registry]:
    """A service without rows: one of the test's own in this process, and a process that a module's tests share."""
    if request.param.endswith("_process"):
        client = emptied(request.getfixturevalue(request.param))
    else:
        client = registry(
            request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"), tmp_path
        )
    async with client as found:
        yield found
