"""What tools keep for principals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tool_notes",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("principal", "namespace", "key")),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.PrimaryKeyConstraint("principal", "namespace", "key", name="pk_tool_notes"),
    )


def downgrade() -> None:
    op.drop_table("tool_notes")
