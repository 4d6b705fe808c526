"""A path below a root, as a user writes it: names between slashes, and nothing that could lead outside."""

from __future__ import annotations

import unicodedata

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.storable import is_text

MAX_PATH, MAX_NAME, MAX_DEPTH = 4_000, 255, 64  # bytes, bytes, names
RESERVED = ".orchestrator"  # the folder at the top in which files are written until they are whole


def names_of(path: str, *, top: bool = False) -> tuple[str, ...]:
    """Its names; none for the root itself, which has to be allowed by `top`. A leading `./` and doubled slashes do no
    harm. Raises InvalidRequest for what is absolute, leads upwards or could be read so by anybody."""
    if not is_text(path) or len(path.encode()) > MAX_PATH:
        raise _wrong(f"plain text of at most {MAX_PATH:,} bytes")
    names = tuple(name for name in path.split("/") if name not in ("", "."))
    if path.startswith("/") or "\\" in path or (names and names[0][1:2] == ":"):
        raise _wrong("a path below the root, with / between its names")
    if not names and not top:
        raise _wrong("names a file or folder below the root")
    if len(names) > MAX_DEPTH:
        raise _wrong(f"at most {MAX_DEPTH} names deep")
    for name in names:
        check_name(name)
    if names and names[0] == RESERVED:
        raise _wrong(f"{RESERVED} is the service's own")
    return names


def check_name(name: str) -> None:
    """Raises InvalidRequest for a name that is none, or that is dots or has a slash when it is read kindly."""
    if not name or len(name.encode()) > MAX_NAME or any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise _wrong(f"names of 1 to {MAX_NAME} bytes without control characters")
    plain = "".join(char for char in unicodedata.normalize("NFKC", name) if unicodedata.category(char) != "Cf")
    if not plain.strip(". ") or "/" in plain or "\\" in plain or "\u2215" in name or "\u2044" in name:
        raise _wrong("a name must not lead upwards")


def text_of(names: tuple[str, ...]) -> str:
    """How it is shown: `.` for the root."""
    return "/".join(names) or "."


def _wrong(text: str) -> InvalidRequest:
    return InvalidRequest(f"path: {text}", details={"field": "path"})
