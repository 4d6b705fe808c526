"""Reliability anchor 50 for the tools' folder: whatever a path says and whatever links lie there, nothing outside is
read, written, listed or deleted."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.adapters.files import FileTree
from orchestrator.domain.errors import InvalidRequest, OrchestratorError
from orchestrator.domain.tree_path import names_of

SECRET = "a secret outside"
OUTSIDE = [
    "..",
    "../secret",
    "a/../../secret",
    "a/..",
    "./../secret",
    "/etc/passwd",
    "//etc/passwd",
    "//server/share/secret",
    "\\\\server\\share\\secret",
    "..\\secret",
    "a\\..\\..\\secret",
    "C:\\secret",
    "C:/secret",
    "c:secret",
    "secret\0.txt",
    "\0",
    "\u2024\u2024/secret",  # one dot leader
    "\u2025/secret",  # two dot leader
    "\u2026/secret",
    "\uff0e\uff0e/secret",  # full width
    "\ufe52\ufe52/secret",  # small
    "\uff0e\uff0e\uff0fsecret",
    "..\u2215secret",
    "..\u2044secret",
    "a\uff3c..",
    ".\u200b./secret",  # with nothing in between
    "\u202e../secret",
    ".. /secret",
    " ../secret",
    "../",
    "...",
    "a/\n/b",
    "a\x7f",
    "\ud800",
    "x" * 256,
    "/".join("x" * 65),
    "a/" * 3_000,
    ".orchestrator",
    "./.orchestrator/draft",
    "",
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A root beside a secret; after the test the secret is as it was."""
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/inside").write_text(SECRET)
    yield tmp_path
    assert sorted(os.listdir(tmp_path)) == ["folder", "root", "secret"]
    assert (tmp_path / "secret").read_text() == SECRET
    assert os.listdir(tmp_path / "folder") == ["inside"]
    assert (tmp_path / "folder/inside").read_text() == SECRET


@pytest.mark.parametrize("path", OUTSIDE)
async def test_every_action_refuses_the_path(place: Path, path: str) -> None:
    files = FileTree(place / "root", 1_000)
    await files.write("fine", b"fine")
    tries = [
        files.read(path),
        files.write(path, b"x"),
        files.write(path, b"x", append=True),
        files.copy(path, "copied"),
        files.copy("fine", path),
        files.move(path, "moved"),
        files.move("fine", path),
        files.delete(path, recursive=True),
        files.set_mode(path, 0o666),
    ]
    if path:
        tries += [files.info(path), files.page(path, 10, 0), files.make_folder(path)]
    for one in tries:
        with pytest.raises(InvalidRequest, match="path:"):
            await one
    assert [entry.name for entry in (await files.page("", 10, 0))[0]] == ["fine"]


async def test_links_are_never_followed(place: Path) -> None:
    files, root = FileTree(place / "root", 1_000), place / "root"
    (root / "file").symlink_to(place / "secret")
    (root / "folder").symlink_to(place / "folder")
    (root / "inner").mkdir()
    (root / "inner/up").symlink_to("../..")
    (root / "near").symlink_to("inner")  # one that stays inside is a link, too
    for path in ("file", "folder/inside", "inner/up/secret", "near/up/secret"):
        for one in (
            files.read(path),
            files.write(path, b"x"),
            files.write(path, b"x", append=True),
            files.copy(path, "copied"),
            files.set_mode(path, 0o666),
        ):
            with pytest.raises(OrchestratorError) as refused:
                await one
            assert refused.value.status in (400, 409)
    for path in ("folder", "inner/up", "near"):
        with pytest.raises(OrchestratorError):
            await files.page(path, 10, 0)
        with pytest.raises(OrchestratorError):
            await files.make_folder(f"{path}/new")
    entry = await files.info("folder")
    assert entry is not None
    assert entry.kind == "link"
    await files.delete("folder", recursive=True)
    await files.delete("inner", recursive=True)


async def test_pipes_and_devices_are_not_files(place: Path) -> None:
    files = FileTree(place / "root", 1_000)
    os.mkfifo(place / "root/pipe")
    for one in (files.read("pipe"), files.write("pipe", b"x"), files.write("pipe", b"x", append=True)):
        with pytest.raises(OrchestratorError):  # at once: nobody is at the pipe's other end
            await one


@pytest.mark.timeout(60)
async def test_a_folder_that_becomes_a_link_meanwhile_leads_nowhere(place: Path) -> None:
    files, root = FileTree(place / "root", 1_000), place / "root"
    (root / "door").mkdir()
    (root / "door/inside").write_text("harmless")
    done = threading.Event()

    def swap() -> None:
        door, real = root / "door", root / "real"
        while not done.is_set():
            with suppress(OSError):
                door.rename(real)
            with suppress(OSError):  # a write may have made the folder again
                door.symlink_to(place / "folder")
            with suppress(OSError):
                door.unlink()
            shutil.rmtree(door, ignore_errors=True)
            with suppress(OSError):
                real.rename(door)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        read = set()
        for count in range(300):
            with suppress(OrchestratorError):
                read.add(await files.read("door/inside"))
            with suppress(OrchestratorError):
                await files.write(f"door/new{count % 10}", b"new")
            with suppress(OrchestratorError):
                await files.delete(f"door/new{count % 10}")
    finally:
        done.set()
        swapping.join()
    assert b"harmless" in read
    assert read <= {b"harmless", b"new"}


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "\0", "\u2024", "\uff0e", "\uff0f", " ", ":", "é"])).map(
        "".join
    )
)
@example("./C:")
@example(".//.:")
def test_what_is_let_through_stays_below_the_root(path: str) -> None:
    try:
        names = names_of(path, top=True)
    except InvalidRequest:
        return
    root = Path("/root/of/tools")
    whole = Path(os.path.normpath(root.joinpath(*names)))
    assert whole == root or root in whole.parents
    assert all(name not in (".", "..", "") and "/" not in name for name in names)
    assert names_of("/".join(names), top=True) == names
