"""The service is killed at every failpoint, under load, with its tasks in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from failpoint_run import killed_at
from orchestrator.testing.failpoints import FAILPOINTS


@pytest.mark.parametrize("name", FAILPOINTS)
async def test_the_service_is_killed_on_postgresql_at(name: str, postgres_url: str, tmp_path: Path) -> None:
    await killed_at(name, postgres_url, tmp_path)
