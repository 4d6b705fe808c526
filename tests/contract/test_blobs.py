"""Every store of bytes, and the files that are on their way to it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from orchestrator.adapters.blobs import DiskBlobs, DiskStaging
from orchestrator.adapters.blobs.objects import ObjectBlobs, open_objects
from orchestrator.adapters.memory.blobs import MemoryBlobs
from orchestrator.domain.errors import ConfigurationError, NotFound, StorageUnavailable
from orchestrator.ports.blobs import BlobStore

DATA = bytes(range(256)) * 12_000  # almost three pieces
KEYS = [f"{number:08x}-0000-4000-8000-000000000000" for number in (1, 2, 0xFFFFFFFF)]
MAKE: dict[str, Callable[[Path], BlobStore]] = {
    "memory": lambda folder: MemoryBlobs(),
    "disk": DiskBlobs,
    "objects": lambda folder: ObjectBlobs(MemoryStore()),
    "object files": lambda folder: ObjectBlobs(LocalStore(str(folder), mkdir=True)),
}


@pytest.fixture(params=MAKE)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return MAKE[request.param](tmp_path / "blobs")


def made(folder: Path, data: bytes) -> Path:
    file = folder / "part"
    file.write_bytes(data)
    return file


async def read(blobs: BlobStore, key: str, start: int, length: int) -> bytes:
    return b"".join([piece async for piece in blobs.read(key, start, length)])


async def listed(blobs: BlobStore) -> list[str]:
    batches = blobs.keys()
    return sorted([key async for batch in batches for key in batch])


async def test_bytes_come_back_whole_and_in_part(blobs: BlobStore, tmp_path: Path) -> None:
    file = made(tmp_path, DATA)
    await blobs.put(KEYS[0], file)
    assert not file.exists()
    for start, length in ((0, len(DATA)), (0, 0), (5, 1), (1_048_000, 2_000_000), (len(DATA) - 1, 1)):
        assert await read(blobs, KEYS[0], start, length) == DATA[start : start + length]
    await blobs.put(KEYS[0], made(tmp_path, b""))
    assert await read(blobs, KEYS[0], 0, 0) == b""


async def test_what_is_not_there(blobs: BlobStore, tmp_path: Path) -> None:
    for length in (0, 5):
        with pytest.raises(NotFound):
            await read(blobs, KEYS[1], 0, length)
    await blobs.put(KEYS[1], made(tmp_path, b"short"))
    with pytest.raises(StorageUnavailable):
        await read(blobs, KEYS[1], 3, 5)


async def test_bytes_that_only_the_disk_has(tmp_path: Path) -> None:
    blobs, data = DiskBlobs(tmp_path / "blobs"), DATA * 4
    await blobs.put(KEYS[0], made(tmp_path, data))
    [file] = [one for one in (tmp_path / "blobs").rglob("*") if one.is_file()]
    for start, length in ((0, len(data)), (700_000, 9_000_000)):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert await read(blobs, KEYS[0], start, length) == data[start : start + length]
    with pytest.raises(StorageUnavailable):
        await read(blobs, KEYS[0], 0, len(data) + 1)


async def test_listed_and_deleted(blobs: BlobStore, tmp_path: Path) -> None:
    assert await listed(blobs) == []
    for key in KEYS:
        await blobs.put(key, made(tmp_path, key.encode()))
    assert await listed(blobs) == KEYS
    await blobs.delete([KEYS[2], "00000009-0000-4000-8000-000000000000", KEYS[0]])
    await blobs.delete([])
    assert await listed(blobs) == [KEYS[1]]
    assert await read(blobs, KEYS[1], 0, 8) == b"00000002"


async def test_a_reader_may_stop_midway(blobs: BlobStore, tmp_path: Path) -> None:
    await blobs.put(KEYS[0], made(tmp_path, DATA))
    pieces = blobs.read(KEYS[0], 0, len(DATA))
    assert DATA.startswith(await anext(pieces))
    await pieces.aclose()


def test_an_unusable_url_is_the_operators_mistake() -> None:
    with pytest.raises(ConfigurationError, match=r"artifacts\.url"):
        open_objects("s4://nowhere")


async def test_a_part_is_digested_while_it_is_written(tmp_path: Path) -> None:
    staging = DiskStaging(tmp_path / "parts")
    part = await staging.open(KEYS[0], 0)
    for begin in range(0, len(DATA), 300_000):
        await part.write(DATA[begin : begin + 300_000])
    await part.sync()
    assert (part.size, part.digest()) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    await part.close()
    assert await staging.digest(KEYS[0]) == hashlib.sha256(DATA).hexdigest()
    assert (await staging.path(KEYS[0])).read_bytes() == DATA


async def test_a_part_goes_on_where_it_is_known_to_be(tmp_path: Path) -> None:
    staging = DiskStaging(tmp_path / "parts")
    assert await staging.keys() == []
    part = await staging.open(KEYS[0], 0)
    await part.write(b"0123456789")
    await part.close()  # never synced: nothing is promised
    part = await staging.open(KEYS[0], 0)
    await part.write(b"0123456789")
    await part.sync()
    await part.close()
    part = await staging.open(KEYS[0], 4)
    await part.write(b"xy")
    await part.sync()
    assert part.size == 6
    await part.close()
    assert (await staging.path(KEYS[0])).read_bytes() == b"0123xy"
    with pytest.raises(NotFound):
        await staging.open(KEYS[0], 7)
    assert await staging.keys() == [KEYS[0]]
    await staging.discard([KEYS[0], KEYS[1]])
    assert await staging.keys() == []
    with pytest.raises(NotFound):
        await staging.digest(KEYS[0])
