"""Archives of files below a root: made, listed and taken out. Each function runs in a process of its own and answers
with a JSON object, which has `problem` and `code` where it cannot."""

from __future__ import annotations

import base64
import io
import os
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from orchestrator.adapters.files.packed import BROKEN, MOST_BYTES, MOST_ENTRIES, Packed, unpacked, zstd
from orchestrator.adapters.files.root import Root, translated
from orchestrator.adapters.files.tree import write_all
from orchestrator.domain.errors import Conflict, InvalidRequest, NotFound, OrchestratorError, TooLarge
from orchestrator.domain.tree_path import names_of, text_of

PIECE = 1 << 20
MOST_INLINE = 32 << 20  # bytes of an archive that is given back and not written
Told = dict[str, Any]


def _answered(work: Callable[[], Told]) -> Told:
    try:
        return work()
    except OrchestratorError as error:
        return {"problem": error.message, "code": error.code}


@contextmanager
def _source(root: Root, path: str | None, content: str | None) -> Iterator[tuple[BinaryIO, int]]:
    """The archive's bytes and how many: a file, or base64."""
    if content is not None:
        whole = base64.b64decode(content)
        yield io.BytesIO(whole), len(whole)
        return
    with root.file(path or "") as (handle, found), open(handle, "rb", closefd=False) as file:
        yield file, found.st_size


def contents(root: str, path: str | None, content: str | None, limit: int, skip: int) -> Told:
    """The entries from `skip` on, and how many there are in all."""

    def work() -> Told:
        with _source(Root(Path(root)), path, content) as (file, size), unpacked(file, size) as (kind, entries):
            whole = [entry for entry, _ in entries]
        items = [_shown(entry) for entry in whole[skip : skip + limit]]
        size = sum(entry.size for entry in whole)
        return {"format": kind, "items": items, "count": len(items), "total": len(whole), "size": size}

    return _answered(work)


def _shown(entry: Packed) -> Told:
    kind = "directory" if entry.folder else "file"
    return {"path": entry.path, "type": kind, "size": entry.size, "modified": entry.modified}


def extract(root: str, path: str | None, content: str | None, destination: str, overwrite: bool, max_file: int) -> Told:
    """All of it, or nothing: it is read to its end before the first file is written, and what was written goes again
    when something is wrong nevertheless (but files that were replaced)."""

    def work() -> Told:
        tree = Root(Path(root))
        above = names_of(destination, top=True)
        with _source(tree, path, content) as (file, size):
            with unpacked(file, size) as (_, entries):
                for entry, packed in entries:
                    if packed is not None:
                        _pieces(entry, packed, max_file, lambda piece: None)
            file.seek(0)
            with unpacked(file, size) as (kind, entries):
                files, written = _taken_out(tree, above, entries, overwrite, max_file)
        os.sync()
        return {
            "format": kind,
            "path": text_of(above),
            "files": files[:MOST_ENTRIES],
            "count": len(files),
            "size": written,
        }

    return _answered(work)


def _taken_out(
    tree: Root,
    above: tuple[str, ...],
    entries: Iterator[tuple[Packed, IO[bytes] | None]],
    overwrite: bool,
    max_file: int,
) -> tuple[list[str], int]:
    made: list[str] = []
    files: list[str] = []
    written = 0
    try:
        for entry, packed in entries:
            target = text_of((*above, *names_of(entry.path)))
            if packed is None:
                with tree.opened(target, make=True):
                    continue
            with tree.draft() as draft:
                written += _pieces(entry, packed, max_file, _into(draft[0], target))
                new = not _exists(tree, target)
                tree.place(draft, target, overwrite=overwrite, durable=False)
            files.append(target)
            if new:
                made.append(target)
    except BaseException:
        for target in made:
            with suppress(OrchestratorError), tree.parent(target) as (folder, name):
                os.unlink(name, dir_fd=folder)
        raise
    return files, written


def _into(handle: int, path: str) -> Callable[[bytes], None]:
    def take(piece: bytes) -> None:
        with translated(path):
            write_all(handle, piece)

    return take


def _exists(tree: Root, path: str) -> bool:
    try:
        with tree.parent(path) as (folder, name):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            return True
    except NotFound:
        return False


def _pieces(entry: Packed, packed: IO[bytes], max_file: int, take: Callable[[bytes], None]) -> int:
    size = 0
    while piece := packed.read(PIECE):
        size += len(piece)
        if size > max_file:
            raise TooLarge(f"'{entry.path}' has more than {max_file:,} bytes (tools.max_file).")
        take(piece)
    return size


def create(root: str, sources: list[str], path: str | None, kind: str, overwrite: bool, max_file: int) -> Told:
    """Of files and folders. Links and what is no file are left out and counted. Without a path its bytes are given
    back as base64."""

    def work() -> Told:
        tree = Root(Path(root))
        found = Walk(tree)
        for source in sources:
            found.add(names_of(source, top=True))
        with tree.draft() as draft, open(draft[0], "wb", closefd=False) as file:
            with _translated(), _writer(kind, file) as add:
                for name, folder in found.entries:
                    if folder:
                        add(name, None, 0, time.time())
                    else:
                        with tree.file(name) as (handle, stated), open(handle, "rb", closefd=False) as content:
                            add(name, content, stated.st_size, stated.st_mtime)
            file.flush()
            size = os.fstat(draft[0]).st_size
            told: Told = {"format": kind, "count": found.files, "left_out": found.left_out, "size": size}
            if path is None:
                return told | {"content": _inline(draft[0], size)}
            if size > max_file:
                raise TooLarge(f"The archive has more than {max_file:,} bytes (tools.max_file).")
            return told | {"path": tree.place(draft, path, overwrite=overwrite).path}

    return _answered(work)


def _inline(handle: int, size: int) -> str:
    if size > MOST_INLINE:
        raise TooLarge(f"The archive has {size:,} bytes: give it a path.")
    with open(handle, "rb", closefd=False) as file:
        file.seek(0)
        return base64.b64encode(file.read()).decode()


class Walk:
    """Files and folders of sources, in order, without links."""

    def __init__(self, tree: Root) -> None:
        self.entries: list[tuple[str, bool]] = []  # path, whether it is a folder
        self.left_out = 0
        self.files = 0
        self._tree = tree
        self._size = 0
        self._known: set[tuple[str, bool]] = set()

    def add(self, names: tuple[str, ...]) -> None:
        path = text_of(names)
        if not names:
            self._folder(names)
            return
        with self._tree.parent(path) as (folder, name):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            self._took(path, True)
            self._folder(names)
        elif stat.S_ISREG(found.st_mode):
            self._took(path, False, found.st_size)
        else:
            self.left_out += 1

    def _folder(self, names: tuple[str, ...]) -> None:
        with self._tree.opened(text_of(names)) as handle:
            below = sorted(os.listdir(handle))
        for name in below:
            try:
                wanted = names_of("/".join((*names, name)))
            except InvalidRequest:  # a name that no path can have, or the service's own
                self.left_out += name != ".orchestrator" or bool(names)
                continue
            with suppress(NotFound):  # gone meanwhile
                self.add(wanted)

    def _took(self, path: str, folder: bool, size: int = 0) -> None:
        if (path, folder) in self._known:
            return
        self._known.add((path, folder))
        self.entries.append((path, folder))
        self.files += not folder
        self._size += size
        if len(self.entries) > MOST_ENTRIES or self._size > MOST_BYTES:
            raise TooLarge(f"An archive may hold {MOST_ENTRIES:,} entries and {MOST_BYTES:,} bytes.")


Add = Callable[[str, IO[bytes] | None, int, float], None]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise Conflict(f"The archive cannot be made: {str(error)[:200]}") from None


@contextmanager
def _writer(kind: str, file: IO[bytes]) -> Iterator[Add]:
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            yield lambda name, content, size, moment: _zip_add(archive, name, content, moment)
        return
    if kind == "tar.zst":
        with zstd().ZstdFile(file, "wb") as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
            yield lambda name, content, size, moment: _tar_add(tar, name, content, size, moment)
        return
    modes = {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz", "tar.bz2": "w:bz2"}
    with tarfile.open(fileobj=file, mode=cast(Any, modes[kind]), format=tarfile.PAX_FORMAT) as tar:
        yield lambda name, content, size, moment: _tar_add(tar, name, content, size, moment)


def _zip_add(archive: zipfile.ZipFile, name: str, content: IO[bytes] | None, moment: float) -> None:
    when = max(time.gmtime(moment)[:6], (1980, 1, 1, 0, 0, 0))
    info = zipfile.ZipInfo(name + ("" if content else "/"), when)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = ((stat.S_IFREG | 0o644) if content else (stat.S_IFDIR | 0o755)) << 16
    with archive.open(info, "w") as sink:
        while content is not None and (piece := content.read(PIECE)):
            sink.write(piece)


def _tar_add(tar: tarfile.TarFile, name: str, content: IO[bytes] | None, size: int, moment: float) -> None:
    info = tarfile.TarInfo(name)
    info.mtime = int(moment)
    info.type, info.mode = (tarfile.REGTYPE, 0o644) if content else (tarfile.DIRTYPE, 0o755)
    info.size = size if content else 0
    tar.addfile(info, content)
