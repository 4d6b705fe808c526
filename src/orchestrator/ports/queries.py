"""Databases that the operator lets tools ask. Never the service's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Query:
    """One statement, with values for its places (never put into its text). At most `max_rows` rows and `max_bytes`
    bytes of them as JSON come back; `timeout` in seconds. `writing`: it may change data."""

    statement: str
    parameters: Sequence[Any] | Mapping[str, Any] = ()
    max_rows: int = 1_000
    max_bytes: int = 8 << 20
    timeout: float = 30.0
    writing: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of JSON values, in the order of the columns. `truncated`: there are more. `changed`: rows that a statement
    has changed, where that is known."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool = False
    changed: int | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Statements that tell what a database holds: `tables` (name, type), and `columns` of the one table that is its
    first parameter (name, type, nullable, key)."""

    tables: str
    columns: str


class QueryDatabase(Protocol):
    """One database."""

    kind: str  # sqlite or postgresql
    catalogue: Catalogue

    async def ask(self, query: Query) -> Answer:
        """Raises InvalidRequest for a statement that is wrong or not allowed, ToolFailed where the database says no,
        ToolCrashed where it cannot be reached, ToolTimeout. Cancelling it ends the statement."""
