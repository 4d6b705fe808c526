"""How busy this machine is, as far as it is cheap to know."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_MEMORY = Path("/proc/meminfo")


def usage() -> dict[str, float]:
    """`cpu_usage` and `memory_usage` in per cent; only what this system tells."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError, AttributeError):
        found["cpu_usage"] = round(min(100.0, 100.0 * os.getloadavg()[0] / (os.cpu_count() or 1)), 1)
    with contextlib.suppress(OSError, KeyError, ValueError, ZeroDivisionError):
        rows = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        total, free = (float(rows[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        found["memory_usage"] = round(100.0 * (1.0 - free / total), 1)
        found["memory_mb"] = round(total / 1024.0)
    return found
