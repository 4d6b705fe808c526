"""Writes down, now and then, what changes too often to be written at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from orchestrator.domain.errors import StorageUnavailable


async def keep_flushing(
    flush: Callable[[], Awaitable[None]],
    seconds: float,
    failed: Callable[[Exception], None],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Until cancelled. A database that is away is told to `failed` and tried again; `flush` keeps what it could not
    write."""
    while True:
        await sleep(seconds)
        try:
            await flush()
        except StorageUnavailable as error:
            failed(error)
