"""Decisions that were written before their parts' names became numbers are read as they are."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from orchestrator.ports.history import Candidate, Decision, HistoryBatch
from orchestrator.storage import open_storage


async def test_a_former_row_is_read(tmp_path: Path) -> None:
    candidates = (Candidate("a", 91.5, {"load": 1.0, "latency": 2.5}), Candidate("b", None, {}, "model not loaded"))
    made = Decision(100.0, "req_1", "m", "a", "balanced", "best of 2", candidates)
    file = tmp_path / "history.db"
    async with open_storage(f"sqlite:///{file}") as storage:
        await storage.history.append(HistoryBatch(decisions=[made]))
        with sqlite3.connect(file) as database:
            number = dict(database.execute("SELECT name, id FROM names").fetchall()) | {"": 0}
            former = [[number[one.node], one.score, number[one.reason], dict(one.parts)] for one in candidates]
            database.execute("UPDATE decisions SET candidates = ?", (json.dumps(former),))
        database.close()
        assert await storage.history.decisions(since=0, until=200, limit=10) == (made,)
