"""Calls of tools in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.adapters.sql.database import Database
from orchestrator.adapters.sql.registry_tables import tool_totals, uuid
from orchestrator.adapters.sql.tool_call_tables import tool_calls
from orchestrator.domain.artifact import is_artifact_id
from orchestrator.domain.errors import InvalidRequest, StorageUnavailable
from orchestrator.domain.storable import INTEGER_LIMIT, check_storable, is_text
from orchestrator.domain.tool import SideEffect
from orchestrator.domain.tool_call import CallError, CallQuery, CallState, Decision, ToolCall

MOST_RUNNING = 10_000
C, S = tool_calls.c, tool_totals.c
NEWEST = (C.created_at.desc(), C.call_id.desc())
WITHOUT_RESULT = [column for column in tool_calls.c if column.name != "result"]


class SqlToolCalls:
    """`ToolCallStore` on a table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, call: ToolCall) -> ToolCall:
        row = _row(call)
        add = self._database.upsert(tool_calls)
        if call.idempotency_key is None:
            await self._database.run(add, row)
            return call
        key = sa.and_(C.principal == call.principal, C.idempotency_key == call.idempotency_key)
        add = add.on_conflict_do_nothing(
            index_elements=[C.principal, C.idempotency_key], index_where=sa.text("idempotency_key IS NOT NULL")
        )
        async with self._database.write() as connection:
            await connection.execute(add, row)
            found = (await connection.execute(sa.select(tool_calls).where(key))).first()
        if found is None:  # deleted in between
            raise StorageUnavailable("the earlier call with this key was just deleted: try again")
        return call if found.call_id == call.id else _call(found._mapping)

    async def get(self, call_id: str) -> ToolCall | None:
        if not is_artifact_id(call_id):
            return None
        rows = await self._database.rows(sa.select(tool_calls).where(C.call_id == call_id))
        return _call(rows[0]._mapping) if rows else None

    async def save(self, call: ToolCall, expected: ToolCall) -> bool:
        here = (C.call_id == call.id, C.state == expected.state.value, C.owner == expected.owner)
        async with self._database.write() as connection:
            change = sa.update(tool_calls).where(*here).values(**_row(call))
            if not (await connection.execute(change)).rowcount:
                return False
            if expected.state is CallState.RUNNING and call.state.final and call.attempts:
                await self._count(connection, call)
        return True

    async def page(self, wanted: CallQuery, limit: int, skip: int) -> tuple[ToolCall, ...]:
        if not _storable(wanted) or skip >= INTEGER_LIMIT:
            return ()
        query = sa.select(*WITHOUT_RESULT).where(*_where(wanted)).order_by(*NEWEST).limit(limit).offset(skip)
        return tuple(_call(row._mapping) for row in await self._database.rows(query))

    async def count(self, wanted: CallQuery) -> int:
        if not _storable(wanted):
            return 0
        [row] = await self._database.rows(sa.select(sa.func.count()).select_from(tool_calls).where(*_where(wanted)))
        return int(row[0])

    async def running(self) -> tuple[ToolCall, ...]:
        return await self.page(CallQuery(state=CallState.RUNNING), MOST_RUNNING, 0)

    async def forget(self, before: float, limit: int) -> int:
        old = sa.select(C.call_id).where(C.ended_at < before).order_by(C.ended_at).limit(limit).scalar_subquery()
        return await self._database.run(sa.delete(tool_calls).where(C.call_id.in_(old)))

    async def _count(self, connection: AsyncConnection, call: ToolCall) -> None:
        if not is_artifact_id(call.tool_id):  # not in the registry
            return
        at = sa.literal(call.ended_at or 0.0, sa.Double)
        used = sa.update(tool_totals).where(S.tool_id == sa.cast(sa.literal(call.tool_id, sa.Text), uuid()))
        used = used.values(uses=S.uses + 1, called_at=_later(S.called_at, at), used_at=_later(S.used_at, at))
        await connection.execute(used)


def _later(column: sa.Column[float], at: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
    return sa.case((column < at, at), else_=column)


def _where(wanted: CallQuery) -> list[sa.ColumnElement[bool]]:
    state = wanted.state.value if wanted.state is not None else None
    pairs = ((C.state, state), (C.tool_id, wanted.tool_id), (C.principal, wanted.principal), (C.task_id, wanted.task))
    found = [column == value for column, value in pairs if value is not None]
    if wanted.due is not None:
        found += [C.expires_at <= wanted.due, C.ended_at.is_(None)]
    return found


def _storable(wanted: CallQuery) -> bool:
    texts = (wanted.tool_id, wanted.principal, wanted.task)
    return all(is_text(text) for text in texts if text is not None)


def _row(call: ToolCall) -> dict[str, Any]:
    check_storable(None, call.id, call.principal, call.idempotency_key or "", call.task or "")
    check_storable((call.tool_id, call.tool_name, call.run, call.agent, call.owner, call.cost))
    return {
        "call_id": call.id,
        "tool_id": call.tool_id,
        "tool_name": call.tool_name,
        "principal": call.principal,
        "state": call.state.value,
        "side_effect": call.side_effect.value,
        "created_at": call.created_at,
        "started_at": call.started_at,
        "ended_at": call.ended_at,
        "expires_at": call.expires_at,
        "attempts": call.attempts,
        "cost": call.cost,
        "idempotency_key": call.idempotency_key,
        "digest": call.digest,
        "owner": call.owner,
        "task_id": call.task,
        "run_id": call.run,
        "agent_id": call.agent,
        "arguments": _text(call.arguments),
        "details": _text(_details(call)),
        "result": _text(call.result) if call.result is not None else None,
    }


def _details(call: ToolCall) -> dict[str, Any]:
    """What nobody looks for."""
    return {
        "error": asdict(call.error) if call.error is not None else None,
        "decision": asdict(call.decision) if call.decision is not None else None,
        "artifacts": call.artifacts,
        "secrets": call.secrets,
        "timeout": call.timeout,
    }


def _text(value: Any) -> str:
    """JSON: what a database's text cannot hold is escaped in it."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequest(f"a value cannot be stored: {error}") from None


def _call(row: Mapping[Any, Any]) -> ToolCall:
    details = msgspec.json.decode(row["details"])
    error, decision, result = details["error"], details["decision"], row.get("result")
    return ToolCall(
        id=row["call_id"],
        tool_id=row["tool_id"],
        tool_name=row["tool_name"],
        arguments=msgspec.json.decode(row["arguments"]),
        principal=row["principal"],
        state=CallState(row["state"]),
        created_at=row["created_at"],
        side_effect=SideEffect(row["side_effect"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        attempts=row["attempts"],
        result=msgspec.json.decode(result) if result is not None else None,
        error=CallError(error["code"], error["message"], tuple(error["problems"])) if error else None,
        artifacts=tuple(details["artifacts"]),
        cost=row["cost"],
        decision=Decision(**decision) if decision else None,
        expires_at=row["expires_at"],
        idempotency_key=row["idempotency_key"],
        digest=row["digest"],
        owner=row["owner"],
        task=row["task_id"],
        run=row["run_id"],
        agent=row["agent_id"],
        timeout=details["timeout"],
        secrets=tuple(details["secrets"]),
    )
