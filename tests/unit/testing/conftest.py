"""A model server on a free port and clients for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from raw_connection import Connect, Raw

from orchestrator.testing.model_server import ModelServer

MODELS = ("demo", "llama3:8b")


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(models=MODELS) as running:
        yield running


@pytest.fixture
async def client(server: ModelServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.url, timeout=10) as connected:
        yield connected


@pytest.fixture
async def connect(server: ModelServer) -> AsyncIterator[Connect]:
    """Opens raw connections and closes them at the end."""
    opened: list[Raw] = []

    async def open_one() -> Raw:
        raw = Raw()
        opened.append(raw)
        await raw.connect(server.host, server.port)
        return raw

    yield open_one
    for raw in opened:
        raw.close()
