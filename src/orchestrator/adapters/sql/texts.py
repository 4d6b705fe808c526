"""The words of tools and artifacts in SQL: kept beside their rows, and searched. How many rows have them decides how
they are found, see `few`: by the index of the words, or by looking at each row's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.few import few, given
from orchestrator.domain.text_search import Phrase, Text, TextSearch, relevance

RANKED = 500  # the newest so many of those that fit are put in the order of their relevance
PROBED, COMMON = 5_000, 50  # of the newest so many rows so many have words that are common
APART = 10  # places between title and body, so that no phrase goes over


@dataclass(frozen=True, slots=True)
class Found:
    """`here` is the condition on the columns of the table; `few`: it is answered by numbers that are known already."""

    here: sa.ColumnElement[bool]
    few: bool
    index: sa.Select[Any] | None = None  # selects the numbers of all that have the words


class TextTable:
    """The words of one kind of thing. `key` is the column with its id."""

    def __init__(self, database: Database, table: sa.Table, key: str) -> None:
        self.table = table
        self.key: sa.Column[str] = table.c[key]
        self._database = database
        self._indexed: bool | None = None  # not known yet

    async def write(self, connection: AsyncConnection, thing_id: str, text: Text) -> None:
        """Replaces the words of a thing, whose row is there."""
        words = self.row(text)
        statement = self._database.upsert(self.table).values({self.key.name: thing_id, **words})
        await connection.execute(statement.on_conflict_do_update(index_elements=[self.key], set_=words))

    def row(self, text: Text) -> dict[str, Any]:
        words: dict[str, Any] = {"title": " ".join(text.title), "body": " ".join(text.body), "pending": True}
        if self._database.dialect == "postgresql":
            words["vector"] = sa.cast(sa.literal(vector(text), sa.Text), TSVECTOR)
        return words

    async def found(self, connection: AsyncConnection, search: TextSearch) -> Found:
        """What has the words that are searched for."""
        if not search.phrases:
            return Found(sa.false(), few=True)
        index = await self._index(connection, search)
        if index is not None and not await self._common(connection, search):
            places = await few(connection, index)
            if places is not None:
                return Found(self.table.c.seq.in_(given(self._database.dialect, places, self.table.c.seq)), few=True)
        return Found(self._looked_at(search), few=False, index=index)

    async def count(self, connection: AsyncConnection, search: TextSearch) -> int:
        """How many have the words."""
        if not search.phrases:
            return 0
        index = await self._index(connection, search)
        hits = sa.select(self.table.c.seq).where(self._looked_at(search)) if index is None else index
        return int((await connection.execute(sa.select(sa.func.count()).select_from(hits.subquery()))).scalar_one())

    async def among(
        self, connection: AsyncConnection, found: Found, things: sa.Table, conditions: Sequence[sa.ColumnElement[bool]]
    ) -> list[sa.ColumnElement[bool]]:
        """The condition that a row has the words and its thing, in the table `things`, meets the other conditions."""
        if not conditions:
            return [found.here]
        thing = things.c[self.key.name]
        if not found.few:
            ids = await few(connection, sa.select(thing).where(*conditions))
            if ids is not None:
                return [found.here, self.key.in_(given(self._database.dialect, ids, self.key))]
        return [found.here, sa.select(sa.literal(1)).where(thing == self.key, *conditions).exists()]

    def of(self, found: Found, thing: sa.Column[Any], *, all_of_them: bool = False) -> sa.ColumnElement[bool]:
        """The same on the other side: the condition that the thing with this id has the words. `all_of_them`: not only
        some of those that fit are wanted, as a page wants."""
        if found.few or all_of_them:
            here = found.here if found.index is None else self.table.c.seq.in_(found.index)
            return thing.in_(sa.select(self.key).where(here))
        return sa.select(sa.literal(1)).where(self.key == thing, found.here).exists()

    async def ranked(
        self,
        connection: AsyncConnection,
        search: TextSearch,
        fitting: Sequence[sa.ColumnElement[bool]],
        limit: int,
        skip: int,
    ) -> list[str]:
        """Ids of a page of what is `fitting`, in the order of relevance."""
        columns = sa.select(self.key, self.table.c.title).where(*fitting)
        newest = columns.order_by(self.table.c.seq.desc())
        first = (await connection.execute(newest.limit(RANKED))).all()
        ordered = sorted(first, key=lambda row: relevance(search, row.title.split(" ")))
        ids = [str(row[0]) for row in ordered[skip : skip + limit]]
        if len(first) == RANKED and skip + limit > RANKED:
            begin = max(skip, RANKED)
            rest = newest.limit(skip + limit - begin).offset(begin)
            ids += [str(row[0]) for row in await connection.execute(rest)]
        return ids

    async def _index(self, connection: AsyncConnection, search: TextSearch) -> sa.Select[Any] | None:
        """Selects `seq` of what fits; None where there is no index, because SQLite came without FTS5."""
        if self._database.dialect == "postgresql":
            return sa.select(self.table.c.seq).where(self.table.c.vector.op("@@")(self._question(search)))
        fts = f"{self.table.name}_fts"
        if self._indexed is None:
            there = sa.text("SELECT 1 FROM sqlite_master WHERE name = :name").bindparams(name=fts)
            self._indexed = (await connection.execute(there)).first() is not None
        if not self._indexed:
            return None
        index = sa.table(fts, sa.column("rowid", sa.Integer))
        match = sa.literal_column(fts).op("MATCH", is_comparison=True)(sa.literal(_fts5(search), sa.Text))
        return sa.select(index.c.rowid).where(match)

    async def _common(self, connection: AsyncConnection, search: TextSearch) -> bool:
        """Whether a look at a few rows tells that there are many. Only for PostgreSQL: its index lists all hits before
        it gives the first one, and it knows by itself whether rows had better be looked at than the index."""
        if self._database.dialect != "postgresql":
            return False
        newest = sa.select(self.table.c.vector).order_by(self.table.c.seq.desc()).limit(PROBED).subquery()
        hits = sa.select(sa.literal(1)).where(newest.c.vector.op("@@")(self._question(search))).limit(COMMON)
        return len((await connection.execute(hits)).all()) == COMMON

    def _question(self, search: TextSearch) -> sa.ColumnElement[Any]:
        return sa.cast(sa.literal(_tsquery(search), sa.Text), TSQUERY)

    def _looked_at(self, search: TextSearch) -> sa.ColumnElement[bool]:
        if self._database.dialect == "postgresql":
            fits: sa.ColumnElement[bool] = self.table.c.vector.op("@@", is_comparison=True)(self._question(search))
            return fits
        texts = [sa.literal(" ") + column + sa.literal(" ") for column in (self.table.c.title, self.table.c.body)]
        return sa.and_(*(sa.or_(*(sa.func.instr(text, _spaced(one)) > 0 for text in texts)) for one in search.phrases))


def _spaced(phrase: Phrase) -> str:
    return " " + " ".join(phrase.words) + ("" if phrase.prefix else " ")


def _fts5(search: TextSearch) -> str:
    """In the language of FTS5 (sqlite.org/fts5.html, section 3). Words hold nothing that it could take otherwise."""
    return " AND ".join(f'"{" ".join(one.words)}"{" *" if one.prefix else ""}' for one in search.phrases)


def _tsquery(search: TextSearch) -> str:
    """In the language of tsquery (postgresql.org/docs/current/datatype-textsearch.html)."""
    return " & ".join(
        " <-> ".join(f"'{word}'" for word in one.words) + (":*" if one.prefix else "") for one in search.phrases
    )


def vector(text: Text) -> str:
    """A tsvector as text: each word with its places."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(text.title, 1):
        places.setdefault(word, []).append(place)
    for place, word in enumerate(text.body, len(text.title) + APART):
        places.setdefault(word, []).append(place)
    return " ".join(f"'{word}':{','.join(map(str, found[:255]))}" for word, found in places.items())
