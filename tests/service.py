"""A service to test against: in this process (`running_service`) or in one of its own (`spawned_service`)."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

import migrated
from nursery import FAILPOINTS, Born, Nursery
from orchestrator.bootstrap import Service, serve
from orchestrator.settings import load

# What tests do not want unless they ask for it: nodes that they did not name, and slow probes.
QUIET: dict[str, Any] = {
    "discovery": {"enabled": False},
    "demo": {"enabled": False},
    "health_check": {"interval": 0.2, "recovery_interval": 0.1, "failure_threshold": 2},
    "logging": {"requests": False, "level": "error"},
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """Later trees win, section by section."""
    result: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            old = result.get(key)
            result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


@dataclass
class RunningService:
    """A service in this process. `service` gives access to its parts, `task` ends when it has stopped."""

    url: str
    service: Service
    task: asyncio.Task[None]

    async def until(self, condition: Any, timeout: float = 10.0) -> None:
        """Waits until `condition()` holds. For states that nothing announces."""
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 - no event to wait for
                await asyncio.sleep(0.01)

    async def healthy(self, count: int) -> None:
        """Waits until so many nodes are healthy."""
        await self.until(lambda: sum(node.healthy for node in self.service.fleet.nodes.values()) >= count)


@asynccontextmanager
async def running_service(
    config: Mapping[str, Any], tmp_path: Path, *, environ: Mapping[str, str] | None = None, first: bool = False
) -> AsyncIterator[RunningService]:
    """Runs `config` over `QUIET` on a free port, with its data in `tmp_path`; waits for nothing but the listener.
    `first`: there is no database yet."""
    file = tmp_path / "orchestrator.yaml"
    file.write_text(yaml.safe_dump(merged(QUIET, config)))
    flags = {"server": {"port": 0}, "data_dir": str(tmp_path / "data")}
    loaded = load(file, dict(environ or {}), flags)
    if not first:
        migrated.place(loaded.settings.database_url)
    started: asyncio.Future[tuple[Service, int]] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(loaded, lambda service, port: started.set_result((service, port))))
    await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    service, port = await started
    try:
        yield RunningService(f"http://127.0.0.1:{port}", service, task)
    finally:
        service.stop()
        await task


@asynccontextmanager
async def two_replicas(
    config: Mapping[str, Any], tmp_path: Path
) -> AsyncIterator[tuple[RunningService, RunningService, httpx2.AsyncClient]]:
    """Two services with one configuration, each with its own data directory, and a client."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with (
        running_service(config, tmp_path / "a") as one,
        running_service(config, tmp_path / "b") as two,
        httpx2.AsyncClient(timeout=60) as client,
    ):
        yield one, two, client


@asynccontextmanager
async def tasks_service(tmp_path: Path, *pulling: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A service without limits of rates, by its tasks API; `pulling` are nodes that pull."""
    config = {"security": {"rate_limit_max": None, "admin_rate_limit_max": None}}
    async with (
        running_service(config, tmp_path) as run,
        httpx2.AsyncClient(base_url=f"{run.url}/api/v1", timeout=20, trust_env=False) as http,
    ):
        for name in pulling:
            await http.post(f"/nodes/{name}/register", json={"mode": "pull"})
        yield http


@dataclass
class SpawnedService:
    """A service in a process of its own."""

    url: str
    process: Born
    log: Path

    def kill(self) -> None:
        """As the kernel would: no chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def ended(self, timeout: float) -> int | None:
        """Waits for the end of the process: its exit code, None when it goes on."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def spawned_service(
    config: Mapping[str, Any],
    tmp_path: Path,
    *,
    arguments: tuple[str, ...] = (),
    environ: Mapping[str, str] | None = None,
    healthy: int = 0,
    timeout: float = 30.0,
    failpoint: str = "",
    victim: Path | None = None,
    lease: float | None = None,
    ready: bool = True,
) -> Iterator[SpawnedService]:
    """`orchestrator start` with `config` over `QUIET`; waits until so many nodes are healthy, unless it need not be
    `ready`. `failpoint` is `NAME:HITS`, `victim` a file with the id of the process that dies there
    in its place, `lease` for how many seconds its tasks stay its own when it has died there."""
    file = tmp_path / "orchestrator.yaml"
    file.write_text(yaml.safe_dump(merged(QUIET, config)))
    port = free_port()
    log = tmp_path / "service.log"
    command = ["-m", "orchestrator"]
    if failpoint:
        command[-1] = FAILPOINTS
        command += ["--lease", str(lease)] if lease is not None else []
        command += ["--victim", str(victim)] if victim is not None else []
        command += [failpoint, "--"]
    command += ["start", "--config", str(file), "--port", str(port)]
    command += ["--data-dir", str(tmp_path / "data"), *arguments]
    named = merged(QUIET, config).get("database", {}).get("url")
    migrated.place(named or f"{migrated.SQLITE}{tmp_path}/data/orchestrator.db")
    process = nursery().start(command, {**environment(), **(environ or {})}, log)
    url = f"http://127.0.0.1:{port}"
    try:
        if ready:
            _await_health(url, process, log, healthy, timeout)
        yield SpawnedService(url, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@functools.cache
def nursery() -> Nursery:
    """This process's."""
    return Nursery(environment())


def environment() -> dict[str, str]:
    """For processes that tests start. Where Python must not leave compiled files about, they are kept for the session:
    compiling everything anew takes longer than all else that a service does when it starts."""
    found = dict(os.environ)
    if found.pop("PYTHONDONTWRITEBYTECODE", ""):
        found["PYTHONPYCACHEPREFIX"] = str(Path(found["TEST_SESSION_FOLDER"]) / "compiled")
    return found


def _await_health(url: str, process: Born, log: Path, healthy: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            body = json.loads(httpx2.get(f"{url}/health", timeout=2).content)
            if body["orchestrator"]["healthyServers"] >= healthy:
                return
        except (httpx2.HTTPError, ValueError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"the service did not come up:\n{log.read_text()[-4000:]}")
