"""Model jobs: pulls, copies and creations that outlive their client and the process."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_jobs",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("id", "kind", "model", "node")),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("candidates", "request")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("who", "status", "detail", "digest")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("completed", "total")),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("tries", sa.BigInteger, nullable=False),
        sa.Column("cancelling", sa.Boolean, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("held_until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_jobs"),
    )
    op.create_index("ix_model_jobs_created_at", "model_jobs", ["created_at"])
    op.create_index("ix_model_jobs_status", "model_jobs", ["status"])


def downgrade() -> None:
    op.drop_table("model_jobs")
