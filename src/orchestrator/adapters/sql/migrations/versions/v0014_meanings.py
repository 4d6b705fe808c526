"""What tools and artifacts mean, as vectors of an embedding model."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

UUID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
TABLES = (("tool_meanings", "tool_id", "tools"), ("artifact_meanings", "artifact_id", "artifacts"))


def upgrade() -> None:
    for name, key, parent in TABLES:
        op.create_table(
            name,
            sa.Column(key, UUID, nullable=False),
            *(sa.Column(column, sa.Text, nullable=False) for column in ("model", "digest")),
            sa.Column("vector", sa.LargeBinary, nullable=False),
            sa.Column("at", sa.Double, nullable=False),
            sa.PrimaryKeyConstraint(key, name=f"pk_{name}"),
            sa.ForeignKeyConstraint([key], [f"{parent}.{key}"], name=f"fk_{name}_{key}", ondelete="CASCADE"),
        )
        op.create_index(f"ix_{name}_at", name, ["at"])


def downgrade() -> None:
    for name, _, _ in TABLES:
        op.drop_table(name)
