"""A change of the configuration that cannot be kept, or that a part refuses, leaves everything as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.memory.overrides import MemoryOverrides
from orchestrator.bootstrap.configuration import SettingsFiles, restore
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.services.clock import Clock
from orchestrator.services.configuration import Configuration
from orchestrator.settings import NO_FILE, Loaded, Settings, load


class AwayOverrides(MemoryOverrides):
    """A database that reads and does not write."""

    async def put(self, document: Mapping[str, Any], who: str, when: float) -> int:
        raise StorageUnavailable


class Parts:
    """Keeps what it was told; refuses a queue of 13."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self, old: Settings, new: Settings) -> None:
        self.settings = new
        if new.queue.max_size == 13:
            raise ValueError("13")


def made(tmp_path: Path, store: MemoryOverrides) -> tuple[Configuration[Settings], Parts, Loaded]:
    loaded = load(NO_FILE, {}, {"data_dir": str(tmp_path)})
    parts = Parts(loaded.settings)
    source = SettingsFiles(loaded)
    return Configuration(source, store, parts, Clock(), loaded.settings, loaded.settings), parts, loaded


@pytest.mark.parametrize(
    ("store", "size", "error"),
    [(AwayOverrides(), 5, StorageUnavailable), (MemoryOverrides(), 13, ValueError)],
)
async def test_nothing_is_half_changed(
    tmp_path: Path, store: MemoryOverrides, size: int, error: type[Exception]
) -> None:
    configuration, parts, _ = made(tmp_path, store)
    with pytest.raises(error):
        await configuration.change({"queue.max_size": size}, who="somebody")
    assert configuration.settings.queue.max_size == parts.settings.queue.max_size == 1000
    assert await configuration.history(10) == ()


async def test_what_equals_the_file_again_is_no_change_any_more(tmp_path: Path) -> None:
    store = MemoryOverrides()
    configuration, _, _ = made(tmp_path, store)
    await configuration.change({"queue.max_size": 5}, who="somebody")
    assert await store.get() == {"queue": {"max_size": 5}}
    await configuration.change({"queue.max_size": 1000}, who="somebody")
    assert await store.get() == {}
    assert len(await configuration.history(10)) == 2


async def test_a_stored_change_that_is_not_understood_does_not_keep_the_service_down(tmp_path: Path) -> None:
    store = MemoryOverrides()
    _, _, loaded = made(tmp_path, store)
    document = {"queue": {"max_size": "many", "max_priority": 7, "gone": 1}, "server": {"port": 1}, "what": 2}
    await store.put(document, "an older release", 1.0)
    started = await restore(loaded, store)
    assert started.settings.queue.max_priority == 7
    assert started.settings.queue.max_size == 1000
    assert started.settings.server.port == 9000
    assert started.origins["queue.max_priority"].source == "database"
