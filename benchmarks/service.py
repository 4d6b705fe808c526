"""The real service in this process, in front of fake nodes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from orchestrator.bootstrap import Service, serve
from orchestrator.settings import Loaded, load
from orchestrator.testing.model_server import ModelServer


@asynccontextmanager
async def service(nodes: Sequence[ModelServer], config: dict[str, Any]) -> AsyncIterator[tuple[Service, str]]:
    """The service and its URL, once every node is healthy. `config` comes on top of the nodes' list."""
    with tempfile.TemporaryDirectory() as folder:
        tree = {
            "nodes": [{"id": f"n{i}", "url": node.url, "max_concurrency": 8} for i, node in enumerate(nodes)],
            "discovery": {"enabled": False},
            "demo": {"enabled": False},
            "logging": {"requests": False, "level": "error"},
            "auth": {"enabled": False},
            **config,
        }
        loaded = _settings(tree, Path(folder))
        started: asyncio.Future[tuple[Service, int]] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve(loaded, lambda *parts: started.set_result(parts)))
        either: set[asyncio.Future[Any]] = {task, started}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        running, port = await started
        try:
            async with asyncio.timeout(20):
                while not all(node.healthy for node in running.fleet.nodes.values()):  # noqa: ASYNC110 - no event
                    await asyncio.sleep(0.02)
            yield running, f"http://127.0.0.1:{port}"
        finally:
            running.stop()
            await task


def _settings(tree: dict[str, Any], folder: Path) -> Loaded:
    file = folder / "orchestrator.yaml"
    file.write_text(yaml.safe_dump(tree))
    return load(file, {}, {"server": {"port": 0}, "data_dir": str(folder / "data")})
