"""The tree of settings, seen from the service that changes it while the process runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that differs, by its dotted path. Secrets are masked in both values."""

    path: str
    old: Any
    new: Any
    live: bool  # False: takes effect after a restart


class Documents(Protocol):
    """What the store keeps of changed settings, made fit to be shown."""

    def steps(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Sequence[Difference]:
        """The keys that two documents set otherwise; None stands for a key that is not set. Secrets are masked."""

    def masked(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """A document without its secrets."""


class SettingsSource(Documents, Protocol[S]):
    """Where settings come from. `S` is the whole tree, a frozen value. Wrong settings raise ConfigurationError."""

    file: str | None  # the one in use

    def change(self, settings: S, changes: Mapping[str, Any]) -> S:
        """`settings` with changes (a tree, or dotted paths) laid on top, validated as a whole."""

    def compare(self, old: S, new: S) -> Sequence[Difference]:
        """The keys that differ, in the order of the tree."""

    def live(self, running: S, wanted: S) -> S:
        """`running` with the live keys of `wanted`; keys that need a restart stay as they run."""

    def document(self, base: S, settings: S) -> dict[str, Any]:
        """The live changes that make `settings` from `base`, as plain data for `change`."""

    def origins(self, base: S, settings: S) -> Mapping[str, tuple[str, str]]:
        """For every key who set it (default, file, env, flag, database), and where."""

    async def read(self, path: str | None) -> S:
        """Reads the file in use again, or another one that is allowed, under the same environment and flags.
        Raises InvalidRequest for a file that is not allowed."""

    async def write(self, path: str | None, document: Mapping[str, Any]) -> str:
        """Folds a document into the file in use, or writes it to another one that is allowed. Returns the path.
        Raises InvalidRequest for a file that is not allowed or cannot be written."""
