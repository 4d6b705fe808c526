"""How tools are called, calls of tools, and uses that count calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from orchestrator.adapters.sql.migrations import registry_sql, tool_call_sql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

UUID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
USES = (("uses", sa.BigInteger), ("called_at", sa.Double), ("used_at", sa.Double))
OPEN, OVER = sa.text("ended_at IS NULL"), sa.text("ended_at IS NOT NULL")
KEYED, OF_TASK = sa.text("idempotency_key IS NOT NULL"), sa.text("task_id IS NOT NULL")
INDEXES = (
    ("created_at", ["created_at", "call_id"], None),
    ("state", ["state", "created_at", "call_id"], None),
    ("tool_id", ["tool_id", "created_at", "call_id"], None),
    ("principal", ["principal", "created_at", "call_id"], None),
    ("task_id", ["task_id", "created_at", "call_id"], OF_TASK),
    ("open", ["state", "expires_at"], OPEN),
    ("ended_at", ["ended_at", "call_id"], OVER),
)


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    op.add_column("tools", sa.Column("execution", JSON))
    for name in ("kind", "side_effect"):
        op.add_column("tools", sa.Column(name, sa.String(20)))
        op.create_index(f"ix_tools_{name}", "tools", [name, "created_at", "tool_id"])
    for table in ("artifacts", "artifact_uploads"):
        op.add_column(table, sa.Column("call_id", sa.Text))
    made = sa.text("call_id IS NOT NULL")
    op.create_index("ix_artifacts_call_id", "artifacts", ["call_id"], sqlite_where=made, postgresql_where=made)
    for name, kind in USES:
        op.add_column("tool_totals", sa.Column(name, kind, nullable=False, server_default=sa.text("0")))
    op.execute("UPDATE tool_totals SET uses = artifacts, used_at = last_at")
    op.create_index("ix_tool_totals_uses", "tool_totals", ["uses", "used_at"])
    for statement in tool_call_sql.NEW_TRIGGERS[dialect]:
        op.execute(statement)
    _calls()


def _calls() -> None:
    op.create_table(
        "tool_calls",
        sa.Column("call_id", UUID, nullable=False),
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
        sa.PrimaryKeyConstraint("call_id", name="pk_tool_calls"),
    )
    for name, columns, where in INDEXES:
        op.create_index(f"ix_tool_calls_{name}", "tool_calls", columns, sqlite_where=where, postgresql_where=where)
    op.create_index(
        "uq_tool_calls_idempotency_key",
        "tool_calls",
        ["principal", "idempotency_key"],
        unique=True,
        sqlite_where=KEYED,
        postgresql_where=KEYED,
    )


def downgrade() -> None:
    dialect = op.get_bind().dialect.name
    op.drop_table("tool_calls")
    for statement in tool_call_sql.OLD_TRIGGERS[dialect]:
        op.execute(statement)
    for view in ("artifacts_with_tools", *registry_sql.VIEW_NAMES):
        op.execute(f"DROP VIEW {view}")
    op.drop_index("ix_tool_totals_uses", "tool_totals")
    for name, _ in USES:
        op.drop_column("tool_totals", name)
    op.drop_index("ix_artifacts_call_id", "artifacts")
    for table in ("artifact_uploads", "artifacts"):
        op.drop_column(table, "call_id")
    for name in ("kind", "side_effect"):
        op.drop_index(f"ix_tools_{name}", "tools")
        op.drop_column("tools", name)
    op.drop_column("tools", "execution")
    for statement in (*registry_sql.VIEWS[dialect], tool_call_sql.VIEW_OF_ARTIFACTS):
        op.execute(statement)
