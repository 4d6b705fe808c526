"""The tools `filesystem` and `filesystem-read`."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import jsonschema_rs
import pytest
from builtin_calls import Caller

from orchestrator.adapters.files import FileTree
from orchestrator.domain.errors import Conflict, InvalidRequest, NotFound, TooLarge, ToolFailed
from orchestrator.domain.tool import SideEffect
from orchestrator.services.builtin_tools.filesystem import Filesystem, FilesystemRead


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def files(root: Path) -> FileTree:
    return FileTree(root, 1_000)


@pytest.fixture
def filesystem(files: FileTree) -> Caller:
    return Caller(Filesystem(files))


@pytest.fixture
def reading(files: FileTree) -> Caller:
    return Caller(FilesystemRead(files))


async def test_what_is_written_is_read_with_the_fields_of_the_contract(filesystem: Caller, root: Path) -> None:
    written = await filesystem(action="write", path="./notes//today.md", content="Grüße\n")
    assert written == {"action": "write", "path": "notes/today.md", "filepath": "notes/today.md", "size": 8}
    assert (root / "notes/today.md").read_text() == "Grüße\n"
    read = await filesystem(action="read", path="notes/today.md")
    assert (read["content"], read["size"], read["encoding"]) == ("Grüße\n", 8, "utf-8")
    assert oct((root / "notes/today.md").stat().st_mode & 0o777) == "0o600"


async def test_any_other_value_is_written_as_json(filesystem: Caller, root: Path) -> None:
    await filesystem(action="write", path="a.json", content={"a": [1, None]})
    assert json.loads((root / "a.json").read_text()) == {"a": [1, None]}


async def test_append_goes_on_at_the_end_and_makes_the_file(filesystem: Caller, root: Path) -> None:
    await filesystem(action="append", path="logs/a.txt", content="one\n")
    told = await filesystem(action="append", path="logs/a.txt", content="two\n")
    assert told["size"] == 8
    assert (root / "logs/a.txt").read_text() == "one\ntwo\n"
    with pytest.raises(TooLarge):
        await filesystem(action="append", path="logs/a.txt", content="x" * 993)


async def test_binary_goes_in_and_out_as_base64(filesystem: Caller) -> None:
    content = bytes(range(256))
    await filesystem(action="write", path="a.bin", content=base64.b64encode(content).decode(), encoding="base64")
    with pytest.raises(ToolFailed, match="byte 128 is not utf-8"):
        await filesystem(action="read", path="a.bin")
    read = await filesystem(action="read", path="a.bin", encoding="base64", offset=10, length=3)
    assert base64.b64decode(read["content"]) == bytes([10, 11, 12])
    with pytest.raises(InvalidRequest, match="not base64"):
        await filesystem(action="write", path="b.bin", content="?", encoding="base64")
    with pytest.raises(InvalidRequest, match="character 1 cannot be written as ascii"):
        await filesystem(action="write", path="b.bin", content="aü", encoding="ascii")


async def test_list_is_in_the_order_of_names_and_in_pages(filesystem: Caller) -> None:
    for name in ("c", "a", "b"):
        await filesystem(action="write", path=f"d/{name}.txt", content=name)
    await filesystem(action="mkdir", path="d/e/f")
    page = await filesystem(action="list", path="d", limit=2, skip=1)
    assert [item["name"] for item in page["items"]] == ["b.txt", "c.txt"]
    assert (page["count"], page["total"]) == (2, 4)
    assert page["items"][0] | {"modified": 0} == {
        "name": "b.txt",
        "path": "d/b.txt",
        "type": "file",
        "size": 1,
        "modified": 0,
        "mode": "600",
    }
    top = await filesystem(action="list", path=".")
    assert [(item["path"], item["type"]) for item in top["items"]] == [("d", "directory")]  # and nothing of ours


async def test_copy_and_move(filesystem: Caller, root: Path) -> None:
    await filesystem(action="write", path="a.txt", content="a")
    copied = await filesystem(action="copy", path="a.txt", destination="x/b.txt")
    assert (copied["source"], copied["destination"]) == ("a.txt", "x/b.txt")
    await filesystem(action="move", path="a.txt", destination="x/c.txt")
    assert not (root / "a.txt").exists()
    with pytest.raises(Conflict, match="exists already"):
        await filesystem(action="copy", path="x/b.txt", destination="x/c.txt", overwrite=False)
    with pytest.raises(Conflict, match="exists already"):
        await filesystem(action="move", path="x/b.txt", destination="x/c.txt", overwrite=False)
    await filesystem(action="move", path="x/b.txt", destination="x/d.txt", overwrite=False)
    await filesystem(action="move", path="x", destination="y/z")
    assert sorted(os.listdir(root / "y/z")) == ["c.txt", "d.txt"]
    with pytest.raises(InvalidRequest):
        await filesystem(action="move", path="y", destination="y/z/y")
    with pytest.raises(Conflict, match="is not a file"):
        await filesystem(action="copy", path="y", destination="z")
    with pytest.raises(InvalidRequest, match="same file"):
        await filesystem(action="copy", path="y/z/c.txt", destination="y/./z/c.txt")


async def test_delete_spares_a_folder_that_holds_something(filesystem: Caller, root: Path) -> None:
    await filesystem(action="write", path="d/a.txt", content="a")
    with pytest.raises(Conflict, match="not empty"):
        await filesystem(action="delete", path="d")
    assert (await filesystem(action="delete", path="d", recursive=True))["deleted"] is True
    assert not (root / "d").exists()
    with pytest.raises(NotFound):
        await filesystem(action="delete", path="d")
    with pytest.raises(InvalidRequest):
        await filesystem(action="delete", path=".", recursive=True)


async def test_exists_info_and_mode(filesystem: Caller) -> None:
    assert (await filesystem(action="exists", path="a.txt"))["exists"] is False
    await filesystem(action="write", path="a.txt", content="a")
    assert (await filesystem(action="exists", path="a.txt"))["type"] == "file"
    assert (await filesystem(action="chmod", path="a.txt", mode="644"))["mode"] == "644"
    assert (await filesystem(action="info", path="a.txt"))["mode"] == "644"
    with pytest.raises(NotFound):
        await filesystem(action="info", path="b.txt")


async def test_sizes_are_bounded(filesystem: Caller, root: Path) -> None:
    with pytest.raises(TooLarge, match=r"tools\.max_file"):
        await filesystem(action="write", path="a.txt", content="x" * 1_001)
    assert not (root / "a.txt").exists()
    await filesystem(action="mkdir", path="d")
    (root / "big").write_bytes(b"x" * 5_000)
    with pytest.raises(TooLarge):
        await filesystem(action="read", path="big")
    with pytest.raises(TooLarge):
        await filesystem(action="copy", path="big", destination="c")
    assert (await filesystem(action="read", path="big", offset=4_999, length=1_000_000))["content"] == "x"


async def test_a_file_is_exchanged_as_a_whole_and_drafts_go(filesystem: Caller, root: Path) -> None:
    await filesystem(action="write", path="a.txt", content="old")
    before = (root / "a.txt").stat().st_ino
    await filesystem(action="write", path="a.txt", content="new")
    assert (root / "a.txt").stat().st_ino != before
    with pytest.raises(Conflict):
        await filesystem(action="write", path="a.txt", content="x", overwrite=False)
    assert os.listdir(root / ".orchestrator") == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "write", "path": "a"},
        {"action": "copy", "path": "a"},
        {"action": "chmod", "path": "a", "mode": "755"},
        {"action": "chmod", "path": "a"},
        {"action": "read", "path": ""},
        {"action": "read"},
        {"action": "execute", "path": "a"},
        {"action": "read", "path": "a", "sudo": True},
    ],
)
async def test_arguments_that_do_not_fit_the_schema(filesystem: Caller, arguments: dict[str, str]) -> None:
    with pytest.raises(jsonschema_rs.ValidationError):
        await filesystem(**arguments)


async def test_the_reading_tool_only_reads(filesystem: Caller, reading: Caller) -> None:
    assert (filesystem.tool.tool.execution.side_effect, reading.tool.tool.execution.side_effect) == (
        SideEffect.WRITE,
        SideEffect.READ,
    )
    await filesystem(action="write", path="a.txt", content="a")
    assert (await reading(action="read", path="a.txt"))["content"] == "a"
    with pytest.raises(jsonschema_rs.ValidationError):
        await reading(action="write", path="a.txt", content="b")
