"""Settings changed while the service runs: checked as a whole, put in force, kept in the database, undone on failure.

The database keeps one document: what differs from file, environment and flags. It holds live keys only, so that what
is in force never differs from what the operator reads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from orchestrator.domain.errors import InvalidRequest, NotFound
from orchestrator.ports.configuration import Difference, SettingsSource
from orchestrator.ports.overrides import HISTORY_KEPT, OverrideEntry, OverrideStore
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


@dataclass(frozen=True, slots=True)
class Version:
    """What differed from file, environment and flags after a change, secrets masked. `changed` is what the version
    before had otherwise (None: what file, environment and flags say); None when that one is not kept any more."""

    entry: OverrideEntry
    changed: Sequence[Difference] | None


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
            _refuse_stuck(differences)
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

    async def rollback(self, version: int, who: str) -> Sequence[Difference]:
        """Puts an earlier version in force again, as a new one; what file, environment and flags say now stays below
        it. Returns what became different; without any difference there is no new version.

        Raises NotFound, ConfigurationError for settings that are wrong by now, InvalidRequest for keys that need a
        restart, and StorageUnavailable; nothing is changed then.
        """
        async with self._changing:
            entries = await self._store.history(HISTORY_KEPT)
            found = next((one for one in entries if one.version == version), None)
            if found is None:
                raise NotFound(f"There is no version {version} of the configuration.")
            wanted = self._source.change(self._base, found.document)
            _refuse_stuck(self._source.compare(self._base, wanted))
            running = self._source.live(self._settings, wanted)
            differences = self._source.compare(self._settings, running)
            if differences:
                await self._put_in_force(running, who, self._base)
                _tell(differences, who)
            return differences

    async def history(self, limit: int) -> Sequence[Version]:
        """Who changed what and when, newest first."""
        entries = await self._store.history(limit + 1)
        versions: list[Version] = []
        for index, entry in enumerate(entries[:limit]):
            older = entries[index + 1].document if index + 1 < len(entries) else {} if entry.version == 1 else None
            changed = self._source.steps(older, entry.document) if older is not None else None
            versions.append(Version(replace(entry, document=self._source.masked(entry.document)), changed))
        return tuple(versions)

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


def _refuse_stuck(differences: Sequence[Difference]) -> None:
    """Raises InvalidRequest when some of them need a restart."""
    stuck = [one.path for one in differences if not one.live]
    if stuck:
        raise InvalidRequest(
            f"{', '.join(stuck)}: needs a restart. Set it in the configuration file and start again.",
            details={"restartRequired": stuck},
        )


def _tell(differences: Sequence[Difference], who: str) -> None:
    for one in differences:
        fields = {"setting": one.path, "old": one.old, "new": one.new, "who": who}
        _log.info("setting_changed", extra=fields)
