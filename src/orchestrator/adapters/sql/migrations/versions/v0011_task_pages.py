"""Pages of finished tasks by type, node and principal; and what operators have switched off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = ("type", "node", "principal")


def upgrade() -> None:
    for column in COLUMNS:
        op.create_index(f"ix_tasks_finished_{column}", "tasks_finished", [column, "state", "seq"])
    op.create_table(
        "switches",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("off_since", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_switches"),
    )


def downgrade() -> None:
    op.drop_table("switches")
    for column in COLUMNS:
        op.drop_index(f"ix_tasks_finished_{column}", "tasks_finished")
