"""Fixtures of the tests with real clients; `live_fleet` has the fleet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live_fleet import MODELS, LiveFleet, live_fleet


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
