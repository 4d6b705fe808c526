"""A node is killed at every failpoint of the service, under load."""

from __future__ import annotations

from pathlib import Path

import pytest

from failpoint_run import node_killed_at
from orchestrator.testing.failpoints import FAILPOINTS


@pytest.mark.parametrize("name", FAILPOINTS)
async def test_a_node_is_killed_at(name: str, sqlite_url: str, tmp_path: Path) -> None:
    await node_killed_at(name, sqlite_url, tmp_path)
