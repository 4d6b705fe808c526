"""One storage per test, on every back end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import migrated
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def storage_url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    migrated.place(url)
    return url


@pytest.fixture
async def storage(storage_url: str) -> AsyncIterator[Storage]:
    async with open_storage(storage_url) as opened:
        yield opened
