"""Schedules: tasks that are submitted again and again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXTS = ("task", "cron", "zone", "catch_up", "principal", "last_task", "last_error")
COUNTS = ("runs", "failures", "missed", "caught_up", "version")


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in TEXTS),
        sa.Column("paused", sa.Boolean, nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("jitter", "created_at", "anchor")),
        *(sa.Column(name, sa.Double) for name in ("every", "tick", "next_run_at", "last_run_at")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in COUNTS),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
    )
    op.create_index("ix_schedules_next_run_at", "schedules", ["next_run_at"])


def downgrade() -> None:
    op.drop_table("schedules")
