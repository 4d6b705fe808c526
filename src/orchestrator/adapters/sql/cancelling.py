"""Cancellations that drivers lose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def cancellation_kept() -> Iterator[Callable[[], bool]]:
    """Raises CancelledError when the task was cancelled in the block, whatever the block raises; gives whether it was.

    What follows a cancellation on the way out (the statement is withdrawn, the transaction rolled back, the connection
    closed) fails when the server has gone, and that failure takes the cancellation's place: in asyncpg's transactions,
    and in SQLAlchemy's closing of a connection, when the cancellation comes during it. A loop that takes it for the
    server's would go on, and who waits for its end would wait for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0

    def cancelled() -> bool:
        return task is not None and task.cancelling() > before

    try:
        yield cancelled
    except Exception as error:
        if cancelled():
            raise asyncio.CancelledError from error
        raise
