"""The table of calls of tools. Documents are JSON in text: a result may hold what no JSON type of a database keeps."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.adapters.sql.registry_tables import uuid
from orchestrator.adapters.sql.tables import metadata


def _index(name: str, *columns: str, where: str = "", unique: bool = False) -> sa.Index:
    text = sa.text(where) if where else None
    return sa.Index(name, *columns, unique=unique, sqlite_where=text, postgresql_where=text)


tool_calls = sa.Table(
    "tool_calls",
    metadata,
    sa.Column("call_id", uuid(), primary_key=True, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("tool_id", "tool_name", "principal")),
    *(sa.Column(name, sa.String(20), nullable=False) for name in ("state", "side_effect")),
    sa.Column("created_at", sa.Double, nullable=False),
    *(sa.Column(name, sa.Double) for name in ("started_at", "ended_at", "expires_at")),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("cost", sa.Double, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("digest", "owner")),
    *(sa.Column(name, sa.Text) for name in ("task_id", "run_id", "agent_id")),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("arguments", "details")),
    sa.Column("result", sa.Text),
    *(_index(f"ix_tool_calls_{name}", name, "created_at", "call_id") for name in ("state", "tool_id", "principal")),
    _index("ix_tool_calls_created_at", "created_at", "call_id"),
    _index("ix_tool_calls_task_id", "task_id", "created_at", "call_id", where="task_id IS NOT NULL"),
    _index("ix_tool_calls_open", "state", "expires_at", where="ended_at IS NULL"),
    _index("ix_tool_calls_ended_at", "ended_at", "call_id", where="ended_at IS NOT NULL"),
    _index(
        "uq_tool_calls_idempotency_key",
        "principal",
        "idempotency_key",
        where="idempotency_key IS NOT NULL",
        unique=True,
    ),
)
