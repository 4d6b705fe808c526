"""The service is killed at every failpoint, under load, with its tasks in SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from failpoint_run import killed_at
from orchestrator.testing.failpoints import FAILPOINTS


@pytest.mark.parametrize("name", FAILPOINTS)
async def test_the_service_is_killed_at(name: str, sqlite_url: str, tmp_path: Path) -> None:
    await killed_at(name, sqlite_url, tmp_path)
