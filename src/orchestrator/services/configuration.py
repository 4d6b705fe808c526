"""Settings changed while the service runs: checked as a whole, put in force, kept in the database, undone on failure.

The database keeps one document: what differs from file, environment and flags. It holds live keys only, so that what
is in force never differs from what the operator reads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orchestrator.domain.errors import InvalidRequest
from orchestrator.ports.configuration import Difference, SettingsSource
from orchestrator.ports.overrides import OverrideEntry, OverrideStore
from orchestrator.services.clock import Clock

S = TypeVar("S")
_log = logging.getLogger("orchestrator.configuration")
Apply = Callable[[S, S], None]  # (before, after); raising leaves the settings as they were


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did. `kept` are keys where a change made through the API still wins over the file; `waiting` need
    a restart."""

    changed: Sequence[Difference]
    kept: Sequence[str]
    waiting: Sequence[str]


class Configuration(Generic[S]):
    """The settings in force."""

    def __init__(
        self, source: SettingsSource[S], store: OverrideStore, apply: Apply[S], clock: Clock, base: S, settings: S
    ) -> None:
        """`base` is what file, environment and flags say, `settings` the same with the stored document on top."""
        self._source = source
        self._store = store
        self._apply = apply
        self._clock = clock
        self._base = base
        self._settings = settings
        self._waiting: tuple[str, ...] = ()
        self._changing = asyncio.Lock()

    @property
    def settings(self) -> S:
        return self._settings

    @property
    def waiting(self) -> Sequence[str]:
        """Keys that the file says otherwise since a reload, and that need a restart."""
        return self._waiting

    @property
    def file(self) -> str | None:
        """The configuration file in use."""
        return self._source.file

    @property
    def origins(self) -> Mapping[str, tuple[str, str]]:
        """For every key who set it, and where."""
        return self._source.origins(self._base, self._settings)

    async def change(self, *changes: Mapping[str, Any], who: str) -> Sequence[Difference]:
        """Puts changes in force, a later one over an earlier; all of them or none. Returns what became different.

        Raises ConfigurationError for settings that are wrong, InvalidRequest for keys that need a restart and
        StorageUnavailable; nothing is changed then.
        """
        async with self._changing:
            wanted = self._settings
            for one in changes:
                wanted = self._source.change(wanted, one)
            differences = self._source.compare(self._settings, wanted)
            stuck = [one.path for one in differences if not one.live]
            if stuck:
                raise InvalidRequest(
                    f"{', '.join(stuck)}: needs a restart. Set it in the configuration file and start again.",
                    details={"restartRequired": stuck},
                )
            if differences:
                await self._put_in_force(wanted, who, self._base)
                _tell(differences, who)
            return differences

    async def reload(self, who: str, path: str | None = None, *, discard: bool = False) -> Reloaded:
        """Reads the file again. Changes made through the API stay on top, or are dropped with `discard`.

        Raises ConfigurationError, InvalidRequest and StorageUnavailable; nothing is changed then.
        """
        async with self._changing:
            document = {} if discard else self._source.document(self._base, self._settings)
            base = await self._source.read(path)
            wanted = self._source.change(base, document)
            running = self._source.live(self._settings, wanted)
            differences = self._source.compare(self._settings, running)
            await self._put_in_force(running, who, base)
            _tell(differences, who)
            self._waiting = tuple(one.path for one in self._source.compare(running, wanted))
            kept = [one.path for one in self._source.compare(base, wanted)]
            return Reloaded(differences, kept, self._waiting)

    async def save(self, path: str | None = None) -> str:
        """Writes the changes made through the API into the file in use, or into another one. Returns the file."""
        async with self._changing:
            return await self._source.write(path, self._source.document(self._base, self._settings))

    async def history(self, limit: int) -> Sequence[OverrideEntry]:
        """Who changed what and when, newest first."""
        return await self._store.history(limit)

    async def _put_in_force(self, wanted: S, who: str, base: S) -> None:
        before = self._settings
        try:
            self._apply(before, wanted)
            await self._store.put(self._source.document(base, wanted), who, self._clock.epoch)
        except BaseException:
            self._apply(wanted, before)
            raise
        self._base = base
        self._settings = wanted


def _tell(differences: Sequence[Difference], who: str) -> None:
    for one in differences:
        fields = {"setting": one.path, "old": one.old, "new": one.new, "who": who}
        _log.info("setting_changed", extra=fields)
