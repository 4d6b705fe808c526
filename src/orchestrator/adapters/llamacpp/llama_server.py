"""The embedded engine: one GGUF file, served by llama.cpp's own server in a child process that is kept running."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from orchestrator.adapters.llamacpp.model_file import ModelFile, read_model_file
from orchestrator.adapters.llamacpp.order import READY, Order
from orchestrator.domain.errors import ConfigurationError
from orchestrator.domain.node import NodeKind, NodeSource, NodeSpec

FIRST_PAUSE = 0.5  # seconds before a child that died is started again, doubled each time
LONGEST_PAUSE = 30.0
STEADY = 60.0  # seconds after which an end counts as the first one again
MAX_LOG = 10 << 20  # bytes; then the log becomes `.1`
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_log = logging.getLogger("orchestrator.llamacpp")


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """`context` in tokens for all requests together, 0: what the model was trained for. `parallel` requests at a time.
    `threads` 0 and `gpu_layers` -1: llama.cpp decides."""

    context: int = 8192
    parallel: int = 4
    threads: int = 0
    gpu_layers: int = -1


def llama_servers(files: Sequence[str], options: LlamaOptions, logs: Path) -> list[LlamaServer]:
    """One server per file. Raises ConfigurationError when the extra is missing or a file cannot be served."""
    if not files:
        return []
    if find_spec("xllamacpp") is None:
        raise ConfigurationError(
            "models.embedded needs the extra 'llamacpp': pip install 'orchestrator[llamacpp]', or take the files out."
        )
    models = [read_model_file(Path(file).expanduser()) for file in files]
    found: dict[str, LlamaServer] = {}
    for model in models:
        server = LlamaServer(model, options, logs)
        other = found.setdefault(server.node.id, server)
        if other is not server:
            raise ConfigurationError(
                f"models.embedded: {other.model.path} and {model.path} have the same name; rename one of them."
            )
    return list(found.values())


def node_id(name: str) -> str:
    """A node's id for a model's name."""
    return f"llamacpp-{_UNFIT.sub('-', name).strip('-.')}"[:100]


class LlamaServer:
    """Implements `ports.local_server.LocalServer`."""

    def __init__(self, model: ModelFile, options: LlamaOptions, logs: Path) -> None:
        self.model = model
        self._options = options
        identity = node_id(model.name)
        self.log = logs / f"{identity}.log"
        self.node = NodeSpec(
            id=identity,
            url="",
            kind=NodeKind.LLAMACPP,
            max_concurrency=options.parallel,
            models=(model.name,),
            source=NodeSource.EMBEDDED,
        )
        self.process: asyncio.subprocess.Process | None = None

    async def run(self, starting: Callable[[], None], ready: Callable[[], None], ended: Callable[[str], None]) -> None:
        """See `ports.local_server.LocalServer.run`."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            order = self._order()
            self.node = replace(self.node, url=f"http://127.0.0.1:{order.port}", api_key=order.key)
            starting()
            begun = loop.time()
            reason = await self._serve(order, ready)
            ended(f"llama.cpp ended ({reason}); its log is {self.log}")
            if loop.time() - begun > STEADY:
                pause = FIRST_PAUSE
            _log.error(
                "embedded engine %s ended (%s), starts again in %.1f s; its log is %s",
                self.node.id,
                reason,
                pause,
                self.log,
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _serve(self, order: Order, ready: Callable[[], None]) -> str:
        """One life of the child; returns how it ended."""
        try:
            process = self.process = await self._spawn()
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(order.encode())
            await process.stdin.drain()
            if await process.stdout.readline() == READY:
                _log.info("embedded engine %s serves %s", self.node.id, self.model.path)
                ready()
            code = await process.wait()
        except (BrokenPipeError, ConnectionResetError):
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()  # it keeps nothing: there is nothing to tidy up
                await process.wait()
            self.process = None
        return f"exit status {code}" if code >= 0 else f"signal {-code}"

    async def _spawn(self) -> asyncio.subprocess.Process:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > MAX_LOG:
            self.log.replace(self.log.with_suffix(".log.1"))
        # The settings may hold secrets, and the child has no use for them.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "orchestrator.adapters.llamacpp.child",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the service, which lets requests finish first
            )

    def _order(self) -> Order:
        model, options = self.model, self._options
        context = options.context
        if model.context and (model.encoder or not context or context > model.context):
            context = model.context
        return Order(
            path=str(model.path),
            name=model.name,
            port=_free_port(),
            key=secrets.token_urlsafe(32),
            context=context,
            parallel=options.parallel,
            threads=options.threads,
            gpu_layers=options.gpu_layers,
            last_pooling=not model.pooled,
            whole_batch=model.encoder,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
