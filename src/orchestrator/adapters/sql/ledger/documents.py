"""What of a task's row is JSON: `spec` is written once, `rest` with every change."""

from __future__ import annotations

import msgspec


class SpecDocument(msgspec.Struct, omit_defaults=True):
    created_at: float
    timeout: float
    max_retries: int
    backoff: tuple[float, float]
    deadline: float | None = None
    not_before: float | None = None
    callback_url: str = ""
    dependencies: tuple[str, ...] = ()
    run_anyway: bool = False
    key: str = ""
    capabilities: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    limits: tuple[float, float, float] | None = None  # min_cpu, min_memory, max_load
    preferred: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


class RestDocument(msgspec.Struct, omit_defaults=True):
    attempt: int = 0
    retries: int = 0
    agent: str = ""
    waiting_for: tuple[str, ...] = ()
    wake_at: float | None = None
    assigned_at: float | None = None
    started_at: float | None = None
    error: str = ""
    progress: float | None = None
    note: str = ""
    replays: int = 0
