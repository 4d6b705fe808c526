"""Events that outlive a process, and the log lines of tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def upgrade() -> None:
    head = op.create_table(
        "event_head",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        *_counts("last", "forgotten", "size"),
        sa.PrimaryKeyConstraint("id", name="pk_event_head"),
    )
    op.bulk_insert(head, [{"id": 1, "last": 0, "forgotten": 0, "size": 0}])
    op.create_table(
        "event_batches",
        # SQLite keeps rows in the order of a column of exactly this type.
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        *_counts("count"),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_event_batches"),
    )
    op.create_index("ix_event_batches_at", "event_batches", ["at"])
    op.create_table(
        "event_writers",
        _text("owner"),
        *_counts("serial"),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_event_writers"),
    )
    op.create_table(
        "task_log_heads",
        _text("task"),
        *_counts("last", "dropped", "size"),
        sa.PrimaryKeyConstraint("task", name="pk_task_log_heads"),
    )
    op.create_table(
        "task_logs",
        _text("task"),
        *_counts("first", "count", "attempt", "size"),
        _text("lines"),
        sa.PrimaryKeyConstraint("task", "first", name="pk_task_logs"),
    )


def downgrade() -> None:
    for name in ("task_logs", "task_log_heads", "event_writers", "event_batches", "event_head"):
        op.drop_table(name)
