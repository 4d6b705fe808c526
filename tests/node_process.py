"""A worker node in a process of its own, to be killed and stopped for real.

    python tests/node_process.py push|pull NAME URL SECONDS        works for SECONDS on each task

It prints what it sees, one JSON object a line, before it does anything about it.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from orchestrator.testing.task_history import Began, Reported
from service import environment
from worker_stubs import Listener, PullWorker, PushWorker

BEAT = 0.2
READY = b"ready\n"


@dataclass(frozen=True, slots=True)
class NodeProcess:
    name: str
    process: asyncio.subprocess.Process

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@asynccontextmanager
async def node_process(
    mode: str, name: str, url: str, seconds: float, listener: Listener
) -> AsyncIterator[NodeProcess]:
    """Starts one and waits until it is registered; the listener hears what it sees."""
    arguments = (__file__, mode, name, url, str(seconds))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=pipe, env=environment())
    assert process.stdout is not None
    hearing: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == READY
        hearing = asyncio.create_task(_hear(process.stdout, listener))
        yield NodeProcess(name, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if hearing is not None:
            await hearing


async def _hear(lines: asyncio.StreamReader, listener: Listener) -> None:
    async for line in lines:
        if line.endswith(b"\n"):  # it may have been killed while it wrote
            told = json.loads(line)
            listener((Reported if "counts" in told else Began)(**told))


async def main(mode: str, name: str, url: str, seconds: float) -> None:
    def tell(event: Began | Reported) -> None:
        print(json.dumps(asdict(event)), flush=True)

    worker: PullWorker | PushWorker
    if mode == "pull":
        worker = PullWorker(name, lambda: url, seconds=seconds)
        worker.listener = tell
        await worker.register(mode="pull")
        worker.spawn(worker.run())
    else:
        worker = PushWorker(name, lambda: url, seconds=seconds, accepts=True)
        worker.listener = tell
        await worker.listen()
        await worker.register(host="127.0.0.1", port=worker.port)
    worker.spawn(worker.beat(BEAT))
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
