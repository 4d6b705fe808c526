"""What this process really does, by the interpreter's own audit events (PEP 578): nothing that runs in it can hide a
process that it starts or a connection that it makes through Python. The event loop must be Python's own for that."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STARTS = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"}
)
CONNECTS = frozenset({"socket.connect", "socket.sendto"})

_listening: list[tuple[frozenset[str], list[tuple[str, tuple[Any, ...]]]]] = []
_installed = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for names, found in _listening:
        if event in names:
            found.append((event, arguments))


@contextmanager
def audited(names: frozenset[str]) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """The events of these names while it lasts, with their arguments."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)  # for the life of the process: hooks cannot be removed
        _installed = True
    found: list[tuple[str, tuple[Any, ...]]] = []
    entry = (names, found)
    _listening.append(entry)
    try:
        yield found
    finally:
        _listening.remove(entry)


def connections(found: list[tuple[str, tuple[Any, ...]]], *expected: int) -> list[Any]:
    """The addresses of connections to other ports of this machine than those, and to other machines."""
    addresses = [arguments[1] for _, arguments in found]
    return [one for one in addresses if not (one[0] in ("127.0.0.1", "::1") and one[1] in expected)]
