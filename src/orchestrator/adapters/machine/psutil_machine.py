"""`ports.machine.Machine` by psutil."""

from __future__ import annotations

import platform
import socket
from pathlib import Path
from time import monotonic

import psutil

from orchestrator.ports.machine import Facts, Usage

FRESH = 1.0  # seconds for which a reading counts: anybody may ask for it


class PsutilMachine:
    """Reads when it is asked, and no more than once a second."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        psutil.cpu_percent()  # the first call only begins to measure
        self._read_at = monotonic()
        self._usage: Usage | None = None

    def usage(self) -> Usage:
        now = monotonic()
        if self._usage is None or now - self._read_at >= FRESH:
            self._usage = Usage(float(psutil.cpu_percent()), float(psutil.virtual_memory().percent), self._disk()[0])
            self._read_at = now
        return self._usage

    def facts(self) -> Facts:
        return Facts(
            platform=platform.system(),
            platform_version=platform.release(),
            python_version=platform.python_version(),
            cpu_count=psutil.cpu_count() or 0,
            memory_total=int(psutil.virtual_memory().total),
            disk_total=self._disk()[1],
            hostname=socket.gethostname(),
        )

    def connections(self) -> int:
        try:
            return len(psutil.Process().net_connections(kind="inet"))
        except (psutil.Error, OSError):
            return 0

    def _disk(self) -> tuple[float, int]:
        """Per cent used, and bytes in all, of the nearest folder that exists."""
        for folder in (self._data_dir, *self._data_dir.absolute().parents):
            try:
                found = psutil.disk_usage(str(folder))
            except OSError:
                continue
            return float(found.percent), int(found.total)
        return 0.0, 0
