"""`orchestrator artifacts` against a running service."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_command import CommandLine

from orchestrator.entrypoints.cli import transfer
from service import running_service


async def test_put_list_get_verify_delete(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = tmp_path / "größe.txt", tmp_path / "large"
    small.write_text("hello")
    large.write_bytes(bytes(range(256)) * 10_000)
    async with running_service({}, tmp_path) as running:
        run = CommandLine(capsys).at(running.url)
        assert "no artifacts" in (await run("artifacts")).err
        one = (await run("artifacts", "put", str(small), "--task", "t")).out.strip()
        monkeypatch.setattr(transfer, "PIECE", 1_000_000)
        two = (await run("artifacts", "put", str(large), "--input", one, "--keep", "1h", "--json")).json
        assert two["size_bytes"] == 2_560_000
        rows = (await run("artifacts", "list", "--task", "t")).rows
        assert [(row["id"], row["name"], row["type"], row["bytes"]) for row in rows] == [
            (one, "größe.txt", "text/plain", "5")
        ]
        assert one in (await run("artifacts", "show", two["artifact_id"], "--lineage")).out
        target = tmp_path / "target"
        assert "2,560,000 bytes" in (await run("artifacts", "get", two["artifact_id"], "-o", str(target))).err
        assert target.read_bytes() == large.read_bytes()
        assert (await run("artifacts", "get", two["artifact_id"], "-o", str(target))).status == 2
        assert (await run("artifacts", "verify", one)).status == 0
        assert (await run("artifacts", "verify")).status == 2
        [file] = (tmp_path / "data/artifacts/blobs").rglob(one)
        file.write_text("jello")
        assert one in (await run("artifacts", "verify", "--all")).err
        assert (await run("artifacts", "verify", one)).status == 1
        assert (await run("artifacts", "get", one)).status == 1
        assert (await run("artifacts", "delete", one)).status == 2
        assert "Deleted" in (await run("artifacts", "delete", one, "--yes")).err
        assert (await run("artifacts", "show", one)).status == 1
        assert (await run("artifacts", "put", str(tmp_path / "nothing"))).status == 2
