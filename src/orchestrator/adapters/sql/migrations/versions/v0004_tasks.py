"""Tasks: those that have not finished, those that have, idempotency keys, exact counts, and who lives."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rows change a few times within seconds: room on the page keeps their indexes as they are.
    op.create_table("tasks", *_columns(), sa.PrimaryKeyConstraint("id", name="pk_tasks"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE tasks SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, "
            "autovacuum_vacuum_cost_delay = 0)"
        )
    op.create_index("ix_tasks_owner", "tasks", ["owner", "state", "priority", "seq"])
    op.create_table(
        "tasks_finished",
        *_columns(),
        sa.Column("result", sa.Text),
        sa.Column("performance", sa.Text),
        sa.Column("finished_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tasks_finished"),
    )
    op.create_index("ix_tasks_finished_state", "tasks_finished", ["state", "seq"])
    op.create_table(
        "task_keys",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("principal", "key", "task")),
        sa.PrimaryKeyConstraint("principal", "key", name="pk_task_keys"),
    )
    op.create_table(
        "task_counts",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("owner", "state")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("now", "ended")),
        sa.PrimaryKeyConstraint("owner", "state", name="pk_task_counts"),
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )


def downgrade() -> None:
    for table in ("replicas", "task_counts", "task_keys", "tasks_finished", "tasks"):
        op.drop_table(table)


def _columns() -> list[sa.Column[Any]]:
    def text(name: str) -> sa.Column[str]:
        return sa.Column(name, sa.Text, nullable=False)

    def number(name: str) -> sa.Column[int]:
        return sa.Column(name, sa.BigInteger, nullable=False)

    return [
        text("id"),
        number("seq"),
        text("type"),
        text("principal"),
        number("priority"),
        *map(text, ("input", "metadata", "requirements", "spec", "state", "node", "owner")),
        number("version"),
        text("rest"),
    ]
