"""Webhooks: the POST that tells a client of a task's end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEXES = (("state", ["state", "next_at"]), ("task", ["task", "version"]), ("created_at", ["created_at"]))


def upgrade() -> None:
    op.create_table(
        "webhooks",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("id", "task")),
        sa.Column("version", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("url", "principal", "state", "last_error", "owner")),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("created_at", "began_at", "next_at", "held_until")),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("last_status", sa.BigInteger),
        sa.Column("done_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
    )
    for name, columns in (*INDEXES, ("done_at", ["done_at"])):
        op.create_index(f"ix_webhooks_{name}", "webhooks", columns)
    op.create_index(
        "ix_tasks_finished_callback",
        "tasks_finished",
        ["finished_at"],
        sqlite_where=sa.text("""instr(spec, '"callback_url":"') > 0"""),
        postgresql_where=sa.text("""strpos(spec, '"callback_url":"') > 0"""),
    )


def downgrade() -> None:
    op.drop_index("ix_tasks_finished_callback", "tasks_finished")
    op.drop_table("webhooks")
