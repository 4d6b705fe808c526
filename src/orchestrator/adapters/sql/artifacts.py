"""Artifacts and uploads in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.artifact_rows import artifact_row, read_artifact, read_upload, upload_row
from orchestrator.adapters.sql.artifact_tables import artifact_inputs, artifact_uploads, artifacts
from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.registry_tables import tool_totals
from orchestrator.adapters.sql.text_tables import artifact_texts
from orchestrator.adapters.sql.texts import TextTable
from orchestrator.domain.artifact import (
    Artifact,
    ArtifactState,
    Quota,
    Upload,
    Usage,
    check_artifact,
    check_quota,
    check_upload,
    is_artifact_id,
)
from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.searched import artifact_text
from orchestrator.domain.storable import INTEGER_LIMIT, is_key
from orchestrator.domain.text_search import read_search
from orchestrator.ports.artifacts import ArtifactOrder, ArtifactQuery

AT_ONCE = 500  # ids in one statement
DEEP = 300_000
QUOTA_LOCK = 0x0A271FAC75  # of PostgreSQL: who checks a quota is alone until its transaction ends
A, U = artifacts.c, artifact_uploads.c
HERE = A.sha256.is_not(None)
RESERVED = sa.case((U.size_bytes > U.received, U.size_bytes), else_=U.received)
ORDERS: dict[ArtifactOrder, tuple[sa.ColumnElement[Any], ...]] = {
    ArtifactOrder.OLDEST: (A.created_at, A.artifact_id),
    ArtifactOrder.NEWEST: (A.created_at.desc(), A.artifact_id.desc()),
    ArtifactOrder.LARGEST: (A.size_bytes.desc(), A.artifact_id.desc()),
    ArtifactOrder.EXPIRING: (A.expires_at, A.artifact_id),
    ArtifactOrder.UNVERIFIED: (A.verified_at, A.artifact_id),
    ArtifactOrder.RELEVANCE: (A.created_at.desc(), A.artifact_id.desc()),  # where there is no text
}
tools = sa.table("tools", sa.column("tool_id", A.created_by_tool_id.type))


class SqlArtifacts:
    """`ArtifactStore` on two tables."""

    def __init__(self, database: Database, deep: int = DEEP) -> None:
        """`deep`: rows passed over, from which on it pays to know how many there are."""
        self._database = database
        self._deep = deep
        self._texts = TextTable(database, artifact_texts, "artifact_id")

    async def add(self, artifact: Artifact) -> None:
        check_artifact(artifact)
        async with self._database.write() as connection:
            await check_tool(connection, artifact.origin.tool)
            await insert(connection, artifact, self._texts)

    async def get(self, artifact_id: str) -> Artifact | None:
        found = await self.page(ArtifactQuery(ids=(artifact_id,), limit=1))
        return found[0] if found else None

    async def page(self, query: ArtifactQuery) -> tuple[Artifact, ...]:
        conditions = _conditions(query)
        if conditions is None or query.offset >= INTEGER_LIMIT:
            return ()
        search = read_search(query.text)
        async with self._database.read() as connection:
            if search is None:
                total = await self._fitting(connection, query, conditions) if query.offset >= self._deep else 0
                rows = (await connection.execute(_listed(query, conditions, total))).all()
                return tuple(read_artifact(row._mapping) for row in rows)
            words = await self._texts.found(connection, search)
            if query.order is ArtifactOrder.RELEVANCE:
                fitting = await self._texts.among(connection, words, artifacts, conditions)
                ids = await self._texts.ranked(connection, search, fitting, query.limit, query.offset)
                return await self._read(connection, ids)
            listed = _listed(query, [*conditions, self._texts.of(words, A.artifact_id)])
            rows = (await connection.execute(listed)).all()
            return tuple(read_artifact(row._mapping) for row in rows)

    async def _fitting(
        self, connection: AsyncConnection, query: ArtifactQuery, conditions: list[sa.ColumnElement[bool]]
    ) -> int:
        """How many artifacts fit, where that is found faster than they are passed over; otherwise 0."""
        if not conditions:
            return await _total(connection)
        if query.larger is None or len(conditions) > 1:
            return 0
        smaller = sa.select(sa.literal(1)).where(A.size_bytes <= min(query.larger, INTEGER_LIMIT - 1)).limit(self._deep)
        count = sa.select(sa.func.count()).select_from(smaller.subquery())
        small = int((await connection.execute(count)).scalar_one())
        return await _total(connection) - small if small < self._deep else 0

    async def _read(self, connection: AsyncConnection, ids: Sequence[str]) -> tuple[Artifact, ...]:
        """In this order."""
        read: dict[str, Artifact] = {}
        for begin in range(0, len(ids), AT_ONCE):
            some = sa.select(artifacts).where(A.artifact_id.in_(ids[begin : begin + AT_ONCE]))
            read |= {row.artifact_id: read_artifact(row._mapping) for row in await connection.execute(some)}
        return tuple(read[one] for one in ids if one in read)

    async def delete(self, ids: Collection[str]) -> int:
        return await _delete(self._database, artifacts, A.artifact_id, ids)

    async def mark(self, artifact_id: str, state: ArtifactState, at: float) -> bool:
        if not is_artifact_id(artifact_id):
            return False
        change = sa.update(artifacts).where(A.artifact_id == artifact_id, HERE)
        return await self._database.run(change.values(state=state.value, verified_at=at)) > 0

    async def usage(self, principal: str | None = None) -> Usage:
        if principal is not None and not is_key(principal):
            return Usage()
        mine: list[sa.ColumnElement[bool]] = [HERE]
        if principal is not None:
            mine.append(A.principal == principal)
        async with self._database.read() as connection:
            return await _kept(connection, mine)

    async def known(self, ids: Sequence[str]) -> frozenset[str]:
        found: set[str] = set()
        wanted = [one for one in ids if is_artifact_id(one)]
        async with self._database.read() as connection:
            for begin in range(0, len(wanted), AT_ONCE):
                some = wanted[begin : begin + AT_ONCE]
                # In this order: an upload that becomes an artifact meanwhile is found as one or the other.
                uploads = sa.select(U.upload_id).where(U.upload_id.in_(some))
                found.update((await connection.execute(uploads)).scalars())
                complete = sa.select(A.artifact_id).where(A.artifact_id.in_(some), HERE)
                found.update((await connection.execute(complete)).scalars())
        return frozenset(found)


class SqlUploads:
    """`UploadStore` on one table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._texts = TextTable(database, artifact_texts, "artifact_id")

    async def begin(self, upload: Upload, quota: Quota) -> None:
        check_upload(upload)
        async with self._database.write() as connection:
            await check_tool(connection, upload.origin.tool)
            taken = await connection.execute(sa.select(A.artifact_id).where(A.artifact_id == upload.id))
            if taken.first():
                raise Conflict("there is an artifact with this id")
            await self._check_quota(connection, quota, upload.origin.principal, upload.reserved)
            await connection.execute(sa.insert(artifact_uploads), upload_row(upload))

    async def get(self, upload_id: str) -> Upload | None:
        if not is_artifact_id(upload_id):
            return None
        rows = await self._database.rows(sa.select(artifact_uploads).where(U.upload_id == upload_id))
        return read_upload(rows[0]._mapping) if rows else None

    async def advance(self, upload_id: str, before: int, offset: int, now: float) -> bool:
        if not is_artifact_id(upload_id):
            return False
        change = sa.update(artifact_uploads).where(U.upload_id == upload_id, U.received == before)
        return await self._database.run(change.values(received=offset, touched_at=now)) > 0

    async def finish(self, artifact: Artifact, quota: Quota) -> bool:
        check_artifact(artifact)
        async with self._database.write() as connection:
            gone = sa.delete(artifact_uploads).where(U.upload_id == artifact.id).returning(RESERVED)
            reserved = (await connection.execute(gone)).scalar_one_or_none()
            if reserved is None:
                return False
            if artifact.size > reserved:
                await self._check_quota(connection, quota, artifact.origin.principal, artifact.size)
            await insert(connection, artifact, self._texts)
        return True

    async def drop(self, ids: Collection[str]) -> int:
        return await _delete(self._database, artifact_uploads, U.upload_id, ids)

    async def stale(self, single: float, resumable: float, limit: int) -> tuple[Upload, ...]:
        before = sa.case((U.resumable, resumable), else_=single)
        old = sa.select(artifact_uploads).where(U.touched_at < max(single, resumable), U.touched_at < before)
        rows = await self._database.rows(old.order_by(U.touched_at, U.upload_id).limit(limit))
        return tuple(read_upload(row._mapping) for row in rows)

    async def _check_quota(self, connection: AsyncConnection, quota: Quota, principal: str, size: int) -> None:
        if quota == Quota():
            return
        if self._database.dialect == "postgresql":
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(QUOTA_LOCK)))
        for limit, whose in ((quota.principal, principal), (quota.whole, None)):
            if limit is not None:
                check_quota(limit, await _used(connection, whose), size, whole=whose is None)


async def check_tool(connection: AsyncConnection, tool: str | None) -> None:
    """Raises InvalidRequest when there is no such tool."""
    if tool is None:
        return
    if not (await connection.execute(sa.select(tools.c.tool_id).where(tools.c.tool_id == tool))).first():
        raise InvalidRequest("created_by_tool_id: there is no such tool", details={"field": "created_by_tool_id"})


async def insert(connection: AsyncConnection, artifact: Artifact, texts: TextTable) -> None:
    row = artifact_row(artifact)
    if artifact.origin.tool is not None:  # it may have been deleted while the bytes came
        row["created_by_tool_id"] = sa.select(tools.c.tool_id).where(tools.c.tool_id == row["created_by_tool_id"])
        row["created_by_tool_id"] = row["created_by_tool_id"].scalar_subquery()
    await connection.execute(sa.insert(artifacts).values(row))
    await texts.write(connection, artifact.id, artifact_text(artifact))
    if artifact.origin.inputs:
        links = [{"input_id": one, "artifact_id": artifact.id} for one in artifact.origin.inputs]
        await connection.execute(sa.insert(artifact_inputs), links)


async def _used(connection: AsyncConnection, principal: str | None) -> int:
    mine: list[sa.ColumnElement[bool]] = [HERE]
    coming: list[sa.ColumnElement[bool]] = []
    if principal is not None:
        mine.append(A.principal == principal)
        coming.append(U.principal == principal)
    under_way = await connection.execute(sa.select(sa.func.sum(RESERVED)).select_from(artifact_uploads).where(*coming))
    return (await _kept(connection, mine)).size + int(under_way.scalar_one() or 0)


async def _kept(connection: AsyncConnection, mine: list[sa.ColumnElement[bool]]) -> Usage:
    """By principal, because then the index is gone through that has nothing but principals and sizes."""
    part = (sa.func.count().label("count"), sa.func.sum(A.size_bytes).label("size"))
    parts = sa.select(*part).select_from(artifacts).where(*mine).group_by(A.principal).subquery()
    total = [sa.func.coalesce(sa.func.sum(column), 0) for column in (parts.c.count, parts.c.size)]
    count, size = (await connection.execute(sa.select(*total))).one()
    return Usage(int(count), int(size))


async def _delete(database: Database, table: sa.Table, key: sa.Column[Any], ids: Collection[str]) -> int:
    wanted = [one for one in ids if is_artifact_id(one)]
    count = 0
    for begin in range(0, len(wanted), AT_ONCE):
        count += await database.run(sa.delete(table).where(key.in_(wanted[begin : begin + AT_ONCE])))
    return count


def _backwards(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    descending = isinstance(column, sa.UnaryExpression)
    return column.element.asc() if descending else column.desc()


async def _total(connection: AsyncConnection) -> int:
    """How many artifacts there are, from the sums of the tools."""
    made = sa.select(sa.func.coalesce(sa.func.sum(tool_totals.c.artifacts), 0)).scalar_subquery()
    others = sa.select(sa.func.count()).select_from(artifacts).where(A.created_by_tool_id.is_(None)).scalar_subquery()
    return int((await connection.execute(sa.select(made + others))).scalar_one())


def _listed(query: ArtifactQuery, conditions: list[sa.ColumnElement[bool]], total: int = 0) -> sa.Select[Any]:
    """`total`: how many there are in all, 0 where nobody has counted. A page in the last half is then looked for from
    the end."""
    order, begin, limit = ORDERS[query.order], query.offset, query.limit
    rows = sa.select(artifacts).where(*conditions)
    if not begin:
        return rows.order_by(*order).limit(limit)
    if begin > total // 2 and total:
        limit = max(0, min(limit, total - begin))
        rows = rows.order_by(*map(_backwards, order)).limit(limit).offset(max(0, total - begin - limit))
    else:
        rows = rows.order_by(*order).limit(limit).offset(begin)
    ids = rows.with_only_columns(A.artifact_id).subquery()  # what is passed over is read from the index alone
    return sa.select(artifacts).join(ids, ids.c.artifact_id == A.artifact_id).order_by(*order)


def _conditions(query: ArtifactQuery) -> list[sa.ColumnElement[bool]] | None:
    """None: nothing can be found."""
    uuids = (*query.ids, query.tool, query.input)
    texts = (query.task, query.run, query.principal, query.file_name, query.mime_type, query.sha256)
    if not all(is_artifact_id(one) for one in uuids if one) or not all(map(is_key, texts)) or "" in query.ids:
        return None
    columns = (A.task_id, A.run_id, A.principal, A.file_name, A.mime_type, A.sha256)
    found: list[sa.ColumnElement[bool]] = [column == text for column, text in zip(columns, texts, strict=True) if text]
    if query.ids:
        found.append(A.artifact_id.in_(query.ids))
    if query.tool:
        found.append(A.created_by_tool_id == query.tool)
    if query.input:
        made = sa.select(artifact_inputs.c.artifact_id).where(artifact_inputs.c.input_id == query.input)
        found.append(A.artifact_id.in_(made))
    if query.state is not None:
        found.append(A.state == query.state.value)
    if query.larger is not None:
        found.append(A.size_bytes > min(query.larger, INTEGER_LIMIT - 1))
    if query.expired is not None:
        found.append(A.expires_at < query.expired)
    if query.order is ArtifactOrder.EXPIRING:
        found.append(A.expires_at.is_not(None))
    if query.order is ArtifactOrder.UNVERIFIED:
        found.append(HERE)
    if query.verified is not None:
        found += [HERE, A.verified_at < query.verified]
    return found
