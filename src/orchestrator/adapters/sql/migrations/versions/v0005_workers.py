"""Workers: nodes that run tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

USAGES = ("cpu_usage", "memory_usage", "gpu_usage", "load_score")
LEARNT = ("network_latency", "reliability", "task_seconds")
TIMES = ("registered_at", "up_since", "heartbeat_at")


def upgrade() -> None:
    op.create_table(
        "workers",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("id", "host", "node_type", "status", "held", "mode")),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("location", sa.Text),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("capabilities", "task_types", "labels", "agents")),
        sa.Column("metadata", sa.JSON, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("port", "slots", "agents_count")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("tasks_completed", "tasks_failed")),
        *(sa.Column(name, sa.Double, nullable=False) for name in (*USAGES, *LEARNT, *TIMES)),
        sa.Column("memory_mb", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )


def downgrade() -> None:
    op.drop_table("workers")
