"""The tool `archive`."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from builtin_calls import Caller, Keep

from orchestrator.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound, TooLarge
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.archive import Archive
from orchestrator.services.builtin_tools.material import Material


@pytest.fixture
def tool(material: Material, apart: Apart, root: Path) -> Archive:
    return Archive(material, apart, "orchestrator.adapters.files.archives", str(root), 1 << 20)


@pytest.fixture
def archive(tool: Archive) -> Caller:
    return Caller(tool)


@pytest.fixture
def filled(root: Path) -> Path:
    (root / "d/e").mkdir(parents=True)
    (root / "d/a.txt").write_text("a" * 1_000)
    (root / "d/e/ü.txt").write_text("u")
    (root / "d/empty").mkdir()
    (root / "d/link").symlink_to("/etc/passwd")
    (root / "z.txt").write_text("z")
    return root


@pytest.mark.parametrize("end", ["zip", "tar", "tar.gz", "tgz", "tar.xz", "tar.bz2"])
async def test_what_goes_in_comes_out(archive: Caller, filled: Path, end: str) -> None:
    made = await archive(action="create", sources=["d", "z.txt", "d/a.txt"], path=f"out/x.{end}")
    assert (made["path"], made["count"], made["left_out"]) == (f"out/x.{end}", 3, 1)
    assert made["size"] == (filled / f"out/x.{end}").stat().st_size
    told = await archive(action="list", path=f"out/x.{end}", limit=2, skip=1)
    assert (told["total"], told["count"], told["size"]) == (6, 2, 1_002)
    assert [item["path"] for item in told["items"]] == ["d/a.txt", "d/e"]
    back = await archive(action="extract", path=f"out/x.{end}", destination="back")
    assert back["files"] == ["back/d/a.txt", "back/d/e/ü.txt", "back/z.txt"]
    assert (filled / "back/d/e/ü.txt").read_text() == "u"
    assert os.listdir(filled / "back/d/empty") == []


async def test_it_is_read_by_others(archive: Caller, filled: Path) -> None:
    await archive(action="create", sources=["."], path="x.zip")
    with zipfile.ZipFile(filled / "x.zip") as found:
        assert "d/e/ü.txt" in found.namelist()
        assert not any(".orchestrator" in name for name in found.namelist())
        assert found.testzip() is None
    outcome = await archive.outcome(action="create", sources=["d"], format="tar.gz")
    (produced,) = outcome.files
    assert (produced.mime_type, produced.file_name) == ("application/gzip", "archive.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(produced.content)) as tar:
        assert tar.getnames() == ["d", "d/a.txt", "d/e", "d/e/ü.txt", "d/empty"]
    assert outcome.result["artifact_id"]


async def test_an_artifact_is_taken_out_as_its_caller(tool: Archive, filled: Path, keep: Keep) -> None:
    outcome = await Caller(tool).outcome(action="create", sources=["d"])
    made = await keep(outcome.files[0].content)
    assert (await Caller(tool, "bert")(action="extract", artifact_id=made, destination="b"))["count"] == 2
    with pytest.raises(Forbidden):
        await Caller(tool, "anna")(action="list", artifact_id=made)


async def test_errors_say_which_kind_they_are(archive: Caller, filled: Path) -> None:
    with pytest.raises(NotFound):
        await archive(action="create", sources=["missing"], path="x.zip")
    with pytest.raises(NotFound):
        await archive(action="list", path="missing.zip")
    with pytest.raises(InvalidRequest, match="path:"):
        await archive(action="create", sources=["../x"], path="x.zip")
    with pytest.raises(InvalidRequest, match="does not tell"):
        await archive(action="create", sources=["d"], path="x.rar")
    with pytest.raises(InvalidRequest, match="give one of"):
        await archive(action="list")
    with pytest.raises(Conflict):
        await archive(action="create", sources=["d"], path="z.txt", format="zip")
    (filled / "random").write_bytes(os.urandom(2 << 20))
    with pytest.raises(TooLarge, match=r"tools\.max_file"):
        await archive(action="create", sources=["random"], path="x.zip")
    assert not (filled / "x.zip").exists()
