"""The models in the server's memory: loading, keeping alive, evicting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.testing.model_server.model import Model
from orchestrator.testing.model_server.settings import Settings

KEEP_ALIVE = 300.0


@dataclass(slots=True, eq=False)
class Resident:
    """A model in memory.

    `expires_at` is on the loop's clock, `None` for never. `size_vram` is less than the model's size if it does not fit.
    """

    model: Model
    size_vram: int
    used_at: float
    expires_at: float | None
    users: int = 0
    timer: asyncio.TimerHandle | None = None


class Memory:
    """Loads on demand, one load per model at a time; over the VRAM limit the least recently used idle model goes.

    When every loaded model is busy, a load waits for one to become idle, as Ollama does.
    """

    def __init__(self, settings: Settings, changed: Callable[[], None]) -> None:
        self._settings = settings
        self._changed = changed
        self._resident: dict[str, Resident] = {}
        self._loading: dict[str, asyncio.Future[None]] = {}
        self._idle: list[asyncio.Future[None]] = []
        self.loads = 0
        self.evictions = 0

    def clock(self) -> float:
        """The loop's clock, which `expires_at` is measured on."""
        return asyncio.get_running_loop().time()

    @property
    def resident(self) -> list[Resident]:
        """What is in memory, most recently used first."""
        return sorted(self._resident.values(), key=lambda resident: -resident.used_at)

    def hold(self, model: Model) -> Resident | None:
        """Use `model` if it can be had without waiting. A held model is not evicted."""
        resident = self._resident.get(model.tagged)
        if resident is None and not self._settings.load_delay_ms and self._make_room(model):
            resident = self._place(model)
        if resident is not None:
            resident.users += 1
            resident.used_at = self.clock()
        return resident

    async def load(self, model: Model) -> Resident:
        """Use `model`, after loading it if need be."""
        name = model.tagged
        while (resident := self.hold(model)) is None:
            if (loading := self._loading.get(name)) is not None:
                await asyncio.shield(loading)
                continue
            self._loading[name] = done = asyncio.get_running_loop().create_future()
            try:
                while not self._make_room(model):
                    await self._someone_idle()
                await asyncio.sleep(self._settings.load_delay_ms / 1000)
                while not self._make_room(model):
                    await self._someone_idle()
                self._place(model)
            finally:
                del self._loading[name]
                done.set_result(None)
        return resident

    def release(self, resident: Resident, keep_alive: float | None) -> None:
        """End one use; the model stays for `keep_alive` seconds (`None`: for ever, 0: it goes when nobody uses it)."""
        now = self.clock()
        resident.users -= 1
        resident.used_at = now
        resident.expires_at = None if keep_alive is None else now + keep_alive
        if resident.users == 0:
            self._wake()
        if self._resident.get(resident.model.tagged) is not resident:
            return
        if keep_alive == 0 and resident.users == 0:
            self.unload(resident.model)
        elif resident.expires_at is not None:
            self._arm(resident, resident.expires_at)

    def unload(self, model: Model) -> bool:
        """Drop `model` from memory; whether it was there."""
        resident = self._resident.pop(model.tagged, None)
        if resident is None:
            return False
        if resident.timer is not None:
            resident.timer.cancel()
        self._changed()
        return True

    def clear(self) -> None:
        """Drop everything, as a restart does."""
        for resident in list(self._resident.values()):
            self.unload(resident.model)
        self._wake()

    def _place(self, model: Model) -> Resident:
        limit = self._settings.vram
        now = self.clock()
        resident = Resident(model, model.size if limit is None else min(model.size, limit), now, now + KEEP_ALIVE)
        self._resident[model.tagged] = resident
        self._arm(resident, now + KEEP_ALIVE)
        self.loads += 1
        self._changed()
        return resident

    def _make_room(self, model: Model) -> bool:
        """Evict until `model` fits (alone it always does); False when only busy models are left."""
        limit = self._settings.vram
        if limit is None:
            return True
        need = min(model.size, limit)
        while sum(resident.size_vram for resident in self._resident.values()) + need > limit:
            idle = [resident for resident in self._resident.values() if resident.users == 0]
            if not idle:
                return False
            self.evictions += 1
            self.unload(min(idle, key=lambda resident: resident.used_at).model)
        return True

    def _arm(self, resident: Resident, at: float) -> None:
        # One timer a model, not one a request: a timer that comes too early arms itself again.
        if resident.timer is not None:
            if resident.timer.when() <= at:
                return
            resident.timer.cancel()
        resident.timer = asyncio.get_running_loop().call_at(at, self._expire, resident)

    def _expire(self, resident: Resident) -> None:
        resident.timer = None
        if resident.expires_at is None or self._resident.get(resident.model.tagged) is not resident:
            return
        if resident.users or resident.expires_at > self.clock():
            if not resident.users:
                self._arm(resident, resident.expires_at)
            return
        self.unload(resident.model)

    async def _someone_idle(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(future)
        await future

    def _wake(self) -> None:
        waiting, self._idle = self._idle, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
