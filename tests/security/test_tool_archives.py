"""Archives of anybody: nothing gets out of the folder, nothing comes in that is no file, nothing is unbounded, and what
is refused leaves nothing behind."""

from __future__ import annotations

import base64
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.files import packed
from orchestrator.adapters.files.archives import contents, extract

BAD_NAMES = [
    "../out",
    "a/../../out",
    "/etc/out",
    "//server/out",
    "..\\out",
    "C:\\out",
    "C:/out",
    "\u2024\u2024/out",
    "\uff0e\uff0e/out",
    "a/\n",
    ".orchestrator/out",
    "x" * 256,
    "/".join("x" * 65),
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "root").mkdir()
    yield tmp_path
    assert os.listdir(tmp_path) == ["root"]


def taken(place: Path, content: bytes, **options: Any) -> dict[str, Any]:
    arguments = {"destination": "in", "overwrite": False, "max_file": 32 << 20} | options
    return extract(str(place / "root"), None, base64.b64encode(content).decode(), **arguments)


def listed(place: Path, content: bytes) -> dict[str, Any]:
    return contents(str(place / "root"), None, base64.b64encode(content).decode(), 10, 0)


def refused(place: Path, content: bytes, words: str, **options: Any) -> None:
    told = taken(place, content, **options)
    assert words in told.get("problem", str(told)[:300])
    left = [path for path in (place / "root").rglob("*") if path.is_file() or path.is_symlink()]
    assert left == []


def zipped(*entries: tuple[str, bytes], mode: int = 0) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return sink.getvalue()


def tarred(*entries: tuple[str, bytes], mode: str = "w", kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


@pytest.mark.parametrize("made", [zipped, tarred])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_lead_outside(place: Path, made: Callable[..., bytes], name: str) -> None:
    archive = made(("fine", b"fine"), (name, b"out"))
    refused(place, archive, "The archive's entry")
    assert "problem" in listed(place, archive)


def test_a_name_with_a_nul_in_a_zip(place: Path) -> None:
    refused(place, zipped(("aXb", b"out")).replace(b"aXb", b"a\0b"), "The archive's entry")


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE],
)
def test_what_is_neither_file_nor_folder_in_a_tar(place: Path, kind: bytes) -> None:
    if kind == tarfile.CONTTYPE:  # an old word for a file
        assert taken(place, tarred(("a", b""), kind=kind))["files"] == ["in/a"]
        (place / "root/in/a").unlink()
    else:
        refused(place, tarred(("a", b""), kind=kind, link="/etc/passwd"), "neither a file nor a folder")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_what_is_neither_file_nor_folder_in_a_zip(place: Path, kind: int) -> None:
    refused(place, zipped(("a", b"/etc/passwd"), mode=kind | 0o777), "neither a file nor a folder")


def test_a_link_that_lies_there_already_is_not_followed(place: Path) -> None:
    (place / "root/in").symlink_to(place)
    told = taken(place, zipped(("root/x", b"x")))
    assert "problem" in told
    (place / "root/in").unlink()
    (place / "root/in").mkdir()
    (place / "root/in/a").symlink_to(place / "new")
    told = taken(place, zipped(("a", b"x")), overwrite=True)
    assert "is not a file" in told["problem"]


def test_bombs(place: Path) -> None:
    zeros = b"\0" * (50 << 20)
    refused(place, zipped(("a", zeros)), "far more than its own size")
    refused(place, tarred(("a", zeros), mode="w:gz"), "far more than its own size", max_file=1 << 30)
    refused(place, tarred(("a", zeros), mode="w:xz"), "far more than its own size", max_file=1 << 30)
    refused(place, gzip.compress(b"x" * 50_000_000), "cannot be read")
    refused(place, zipped(("a", b"x" * 5_000)), "tools.max_file", max_file=4_999)
    random_bytes = random.Random(1).randbytes(3_000)
    refused(place, tarred(("a", random_bytes), ("b", random_bytes * 2)), "tools.max_file", max_file=5_000)


def test_many_entries(place: Path) -> None:
    many = [(f"{number}", b"") for number in range(packed.MOST_ENTRIES + 1)]
    refused(place, zipped(*many), "more than 10,000 entries")
    refused(place, tarred(*many, mode="w:gz"), "more than 10,000 entries")


def overlapping(count: int) -> bytes:
    """Many entries of a directory that all point at the same content."""
    one = zipped(("a", b"\0" * 100_000))
    end = one.rindex(b"PK\x05\x06")
    start = one.index(b"PK\x01\x02")
    directory = one[start:end]
    entries = b"".join(directory.replace(b"a", bytes([97 + number % 26]), 1) for number in range(count))
    tail = bytearray(one[end:])
    struct.pack_into("<HHI", tail, 8, count, count, len(entries))
    return one[:start] + entries + bytes(tail)


def test_entries_that_share_their_content(place: Path) -> None:
    refused(place, overlapping(25), "archive")  # the second name is not that of the content


def test_a_size_that_lies(place: Path) -> None:
    honest = zipped(("a", b"x" * 70_000))
    size = struct.pack("<I", 70_000)
    refused(place, honest.replace(size, struct.pack("<I", 10)), "cannot be read")


def test_encrypted_and_unknown_and_broken(place: Path) -> None:
    locked = bytearray(zipped(("a", b"x")))
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    refused(place, bytes(locked), "encrypted")
    strange = bytearray(zipped(("a", b"x")))
    struct.pack_into("<H", strange, strange.index(b"PK\x01\x02") + 10, 99)
    refused(place, bytes(strange), "cannot be read")
    for content in (b"", b"nothing", b"PK\x03\x04", b"\x1f\x8b", b"BZh9", lzma.compress(b"no tar"), os.urandom(2_000)):
        refused(place, content, "cannot be read")
    whole = tarred(("a", b"a" * 3_000), ("b", b"b" * 3_000))
    refused(place, whole[:3_000], "cannot be read")
    broken = bytearray(whole)
    broken[512 + 3_072 + 5] ^= 1  # in the second header
    refused(place, bytes(broken), "cannot be read")
    packed_whole = tarred(("a", os.urandom(3_000)), mode="w:gz")
    refused(place, packed_whole[:-600], "cannot be read")


def test_the_same_name_twice(place: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = zipped(("a", b"1"), ("a", b"2"))
    refused(place, archive, "twice")
    refused(place, tarred(("a", b"1"), ("./a", b"2")), "twice")


def test_sparse_files_are_refused(place: Path) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9999999999"}
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    refused(place, sink.getvalue(), "archive")


def test_a_failure_in_the_middle_takes_back_what_was_new(place: Path) -> None:
    folder = place / "root/in"
    folder.mkdir()
    (folder / "b").write_text("old")
    told = taken(place, zipped(("a", b"new"), ("b", b"new"), ("c", b"new")))
    assert told["code"] == "conflict"
    assert os.listdir(folder) == ["b"]
    assert (folder / "b").read_text() == "old"
    assert taken(place, zipped(("a", b"new"), ("b", b"new")), overwrite=True)["files"] == ["in/a", "in/b"]
    assert (folder / "b").read_text() == "new"


@pytest.mark.parametrize("seed", range(6))
def test_damaged_archives_never_do_worse_than_a_sentence(place: Path, seed: int) -> None:
    rand = random.Random(seed)
    entries = [(f"d/{number}.txt", rand.randbytes(300)) for number in range(5)]
    until = time.monotonic() + 3
    for made in (zipped(*entries), tarred(*entries), tarred(*entries, mode="w:gz"), tarred(*entries, mode="w:xz")):
        for turn in range(60):
            damaged = bytearray(made)
            for _ in range(rand.randrange(1, 6)):
                damaged[rand.randrange(len(damaged))] = rand.randrange(256)
            told = taken(place, bytes(damaged), destination=f"in{turn}", overwrite=True)
            assert "problem" in told or told["count"] <= 6
            if time.monotonic() > until:
                break
