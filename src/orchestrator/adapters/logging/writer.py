"""A thread that writes, so that a slow terminal, pipe or disk never holds up a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Event, Thread

from orchestrator.adapters.logging.output import Output

MOST_WAITING = 4096  # jobs; beyond, lines are lost and counted
_PATIENCE = 5.0  # seconds that a shutdown waits for the outputs

Job = tuple[Callable[[], bytes], Sequence[Output], int]


class Writer:
    """Writes what it is handed, in that order."""

    def __init__(self, told: Callable[[int], bytes]) -> None:
        """`told(n)` makes the line that says that n lines were lost."""
        self._told = told
        self._refused = 0  # lines that found no room, ever
        self._known = 0  # of these, told of
        self._lost = 0  # lines that could not be written, not told of yet
        self._jobs: SimpleQueue[Job | Event | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, produce: Callable[[], bytes], outputs: Sequence[Output], lines: int = 1) -> None:
        """Writes what `produce` returns, which is called on the thread. Never waits."""
        if self._jobs.qsize() >= MOST_WAITING:
            self._refused += lines
        else:
            self._jobs.put((produce, outputs, lines))

    def flush(self) -> bool:
        """Waits until what was handed over is written; False when that takes too long."""
        written = Event()
        self._jobs.put(written)
        return written.wait(_PATIENCE)

    def close(self) -> None:
        """Writes what waits, for a bounded time."""
        self._jobs.put(None)
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if isinstance(job, Event):
                job.set()
            else:
                self._write(*job)

    def _write(self, produce: Callable[[], bytes], outputs: Sequence[Output], lines: int) -> None:
        refused = self._refused
        lost = self._lost + refused - self._known
        self._lost, self._known = 0, refused
        try:
            data = produce()
            if lost:
                data = self._told(lost) + data
        except Exception:  # noqa: BLE001 - the thread's edge; nothing but this log could be told of it
            self._lost = lost + lines
            return
        for output in outputs:
            try:
                output.write(data)
            except OSError:  # a full disk, a closed pipe: the next write that works tells how many are gone
                self._lost += lost + lines
                lost = 0
