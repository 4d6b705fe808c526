"""A fleet for real clients: two embedded llama.cpp engines on tiny models, and fake servers of the other kinds.

The service is a process of its own, with authentication on. The fakes live on a thread of the test process, so that a
test, synchronous or not, can tell them how to behave and see what they received.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.testing.model_server import ModelServer, Received
from service import spawned_service
from tiny_gguf import shared_gguf

WAIT = 15.0  # seconds for things that should happen at once
KEYS = {
    "developer": "test-developer-key",
    "admin": "test-administrator-key",
    "limited": "test-limited-models-key",
    "slow": "test-two-a-minute-key",
}
# What answers under which name, by the kind of the node.
MODELS = {"llamacpp": "tiny-a", "ollama": "llama3", "openai": "gpt-fake", "anthropic": "claude-fake"}
SHARED = "shared:latest"  # on two nodes of different kinds
FAKES = {
    "ollama": ["llama3:latest", "nomic-embed-text:latest", SHARED],
    "openai": ["gpt-fake", "text-embedding-fake", SHARED],
    "anthropic": ["claude-fake"],
}
UPSTREAM_KEY = "test-upstream-key"
T = TypeVar("T")


class FakeNode:
    """A fake model server on another thread."""

    def __init__(self, server: ModelServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop

    @property
    def url(self) -> str:
        return self._server.url

    def mode(self, kind: Any, **options: Any) -> None:
        self._do(lambda: self._server.mode(kind, **options))

    def reset(self) -> None:
        self._do(self._server.reset)

    def release(self) -> int:
        return self._do(self._server.release)

    def requests(self, path: str) -> list[Received]:
        """The requests for `path` since the test began, oldest first."""
        return self._do(lambda: [request for request in self._server.requests if request.path == path])

    def last(self, path: str) -> Received:
        return self.requests(path)[-1]

    def loaded(self) -> list[str]:
        return self._do(lambda: self._server.loaded)

    def wait_for(self, predicate: Callable[[ModelServer], bool], timeout: float = WAIT) -> None:
        asyncio.run_coroutine_threadsafe(self._server.wait_for(predicate, timeout), self._loop).result()

    def _do(self, action: Callable[[], T]) -> T:
        done: Future[T] = Future()

        def act() -> None:
            try:
                done.set_result(action())
            except BaseException as error:  # noqa: BLE001 - it belongs to the thread that asked
                done.set_exception(error)

        self._loop.call_soon_threadsafe(act)
        return done.result(WAIT)


@dataclass(frozen=True)
class LiveFleet:
    """The service's address without a slash at its end, and its fake nodes by kind."""

    url: str
    fakes: Mapping[str, FakeNode]
    key: str = KEYS["developer"]

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def fake(self, kind: str) -> FakeNode:
        return self.fakes[kind]


@contextmanager
def fake_nodes() -> Iterator[dict[str, FakeNode]]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake nodes", daemon=True)
    thread.start()
    servers = {
        kind: ModelServer(models, dialects=[kind], required_key=UPSTREAM_KEY if kind != "ollama" else None)
        for kind, models in FAKES.items()
    }
    try:
        for server in servers.values():
            asyncio.run_coroutine_threadsafe(server.start(), loop).result(WAIT)
        yield {kind: FakeNode(server, loop) for kind, server in servers.items()}
    finally:
        for server in servers.values():
            asyncio.run_coroutine_threadsafe(server.kill(), loop).result(WAIT)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WAIT)
        loop.close()


def fleet_config(fakes: Mapping[str, FakeNode], models: list[Path]) -> dict[str, Any]:
    nodes = [
        {"id": f"{kind}-1", "kind": kind, "url": fake.url, "max_concurrency": 32, "api_key": "env:TEST_UPSTREAM_KEY"}
        for kind, fake in fakes.items()
    ]
    special: dict[str, dict[str, Any]] = {
        "admin": {"role": "admin"},
        "limited": {"models": ["llama3:latest"]},
        "slow": {"rate_limit": 2},
    }
    keys = [{"name": name, "key": key, "role": "developer", **special.get(name, {})} for name, key in KEYS.items()]
    return {
        "nodes": nodes,
        "models": {
            "embedded": [str(path) for path in models],
            "aliases": {"tiny": ["tiny-a", "tiny-b"], "alias/with-slash": "llama3"},
        },
        "auth": {"enabled": True, "keys": keys},
        # The faults of one test must not keep the next one from the node.
        "circuit_breaker": {"enabled": False},
        "retry": {"max_attempts": 2, "budget_min_per_second": 1000, "backoff_base": 0.01},
    }


@contextmanager
def live_fleet(folder: Path) -> Iterator[LiveFleet]:
    """Runs all of it until the block ends; waits until every node is healthy."""
    models = [shared_gguf(folder, f"{name}.gguf") for name in ("tiny-a", "tiny-b")]
    with fake_nodes() as fakes:
        environ = {"TEST_UPSTREAM_KEY": UPSTREAM_KEY}
        count = len(fakes) + len(models)
        with spawned_service(fleet_config(fakes, models), folder, environ=environ, healthy=count) as running:
            yield LiveFleet(running.url, fakes)
