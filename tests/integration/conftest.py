"""What the tests of a running service share."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from otlp_collector import Collector
from servers import redis
from tiny_gguf import shared_gguf


@pytest.fixture(scope="session")
def gguf_file() -> Path:
    """A model that the real engine serves; written once a session."""
    return shared_gguf(Path(os.environ["TEST_SESSION_FOLDER"]))


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=30) as client:
        yield client


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[redis.RedisServer]:
    """A private Redis, which keeps nothing."""
    with redis.running(tmp_path) as server:
        yield server
