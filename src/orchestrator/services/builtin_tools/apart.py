"""Heavy work in processes of its own: a few at a time, within limits, ended when its call is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from orchestrator.domain.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    QuotaExceeded,
    RequestError,
    TooLarge,
    ToolCrashed,
    ToolFailed,
)
from orchestrator.ports.callables import Callables, ProcessLimits

PROBLEM = "problem"  # the field of a result that says what is wrong with the arguments; `code` may say of which kind
_KINDS: dict[str, type[RequestError]] = {one.code: one for one in (Conflict, NotFound, QuotaExceeded, TooLarge)}
LIMITS = ProcessLimits(
    memory=1 << 30,
    cpu_seconds=120,
    file_size=2 << 30,
    output=48 << 20,
    environment={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
)


class Apart:
    """Calls functions that take fields and give one JSON object."""

    def __init__(self, callables: Callables, most: int = 4, limits: ProcessLimits = LIMITS) -> None:
        """`most`: processes at a time."""
        self._callables = callables
        self._limits = limits
        self._room = asyncio.Semaphore(most)

    async def call(self, function: str, **given: Any) -> dict[str, Any]:
        """Raises InvalidRequest (or what its code says) where the function answers with a problem, ToolFailed where it
        raises, ToolCrashed where its process ends."""
        argument = await asyncio.to_thread(_encoded, given)  # it may be tens of MiB
        async with self._room:
            called = await self._callables.call(function, argument, self._limits)
        if called.crashed:
            raise ToolCrashed(called.error)
        if called.result is None:
            raise ToolFailed(called.error)
        told: dict[str, Any] = await asyncio.to_thread(json.loads, called.result)
        if PROBLEM in told:
            raise _KINDS.get(told.get("code", ""), InvalidRequest)(told[PROBLEM])
        return told


def _encoded(given: dict[str, Any]) -> bytes:
    return json.dumps(given).encode()
