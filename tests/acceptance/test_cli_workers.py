"""`orchestrator workers` against a running service."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from cli_command import CommandLine, spawn

from service import running_service


async def test_list_show_drain_remove(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with running_service({}, tmp_path) as running:
        run = CommandLine(capsys).at(running.url)
        assert "no workers" in (await run("workers", "list")).err
        async with httpx2.AsyncClient(base_url=running.url) as client:
            for name, mode in (("b", "pull"), ("a", "push")):
                body = {"host": "10.0.0.5", "mode": mode, "cpu_usage": 12.5, "agents": [{"agent_id": "one"}]}
                assert (await client.post(f"/api/v1/nodes/{name}/register", json=body)).status_code == 200
        rows = (await run("workers")).rows
        assert [(row["id"], row["state"], row["address"]) for row in rows] == [
            ("a", "active", "10.0.0.5:8080"),
            ("b", "active", "pulls"),
        ]
        assert [one["node_id"] for one in (await run("workers", "list", "--json")).json] == ["b", "a"]
        assert "agents\tone" in (await run("workers", "show", "a")).out
        assert "undrain a" in (await run("workers", "drain", "a")).err
        assert "maintenance (set by an operator)" in (await run("workers", "show", "a")).out
        assert (await run("workers", "undrain", "a")).status == 0
        assert (await run("workers", "list")).rows[0]["state"] == "active"
        assert (await run("workers", "remove", "a")).status == 2
        assert "Removed a" in (await run("workers", "remove", "a", "--yes")).err
        gone = await run("workers", "show", "a")
        assert gone.status == 1
        assert "Node not found" in gone.err


@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("../odd_app:worker", "is not MODULE:NAME"),
        ("no_such_app:worker", "No module named 'no_such_app'"),
        ("raising_app:worker", "RuntimeError: no database"),
        ("leaving_app:worker", "SystemExit: 3"),
        ("broken_app:worker", "(broken_app.py, line 1)"),
    ],
)
async def test_a_module_that_cannot_be_loaded(app: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "raising_app.py").write_text("x = 1\nraise RuntimeError('no database')\n")
    (tmp_path / "leaving_app.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "broken_app.py").write_text("def (:\n")
    result = await spawn("worker", app, "--json", cwd=tmp_path)
    assert (result.status, result.json["code"], result.err) == (2, "usage", "")
    assert said in result.json["error"]
    if "raising" in app:
        assert result.json["hint"] == f"Raised in {tmp_path}/raising_app.py, line 2."


@pytest.mark.parametrize("name", ["a b/c", "", "-a", "n" * 101])
async def test_a_worker_whose_name_the_service_would_not_take(name: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(
        "from orchestrator_client import Worker\nworker = Worker()\nworker.task('resize')(lambda data: data)\n"
    )
    result = await spawn("worker", "jobs:worker", f"--node-id={name}", cwd=tmp_path)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"error: node_id: '{name}' must be 1 to 100 letters, digits"), result.err
    assert "runs resize" not in result.err
