"""Artifacts: what is known of them, of what they were made, and uploads under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from orchestrator.adapters.sql.migrations import registry_sql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

UUID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
ORIGIN = ("task_id", "run_id", "agent_id", "principal", "sha256")
INDEXES = (
    ("file_name", ["file_name", "artifact_id"], ""),
    ("mime_type", ["mime_type", "created_at", "artifact_id"], ""),
    ("created_at", ["created_at", "artifact_id"], ""),
    ("created_by_tool_id", ["created_by_tool_id", "created_at", "artifact_id"], ""),
    ("largest_of_tool", ["created_by_tool_id", "size_bytes"], ""),
    ("size_bytes", ["size_bytes", "artifact_id"], ""),
    ("sha256", ["sha256", "created_at"], "sha256"),
    ("task_id", ["task_id", "created_at"], "task_id"),
    ("run_id", ["run_id", "created_at"], "run_id"),
    ("principal", ["principal", "size_bytes"], "sha256"),
    ("state", ["state", "created_at", "artifact_id"], ""),
    ("expires_at", ["expires_at", "artifact_id"], "expires_at"),
    ("verified_at", ["verified_at", "artifact_id"], "sha256"),
)


def upgrade() -> None:
    _artifacts()
    op.create_table(
        "artifact_inputs",
        *(sa.Column(name, UUID, nullable=False) for name in ("input_id", "artifact_id")),
        sa.PrimaryKeyConstraint("input_id", "artifact_id", name="pk_artifact_inputs"),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifacts.artifact_id"], name="fk_artifact_inputs_artifact_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_artifact_inputs_artifact_id", "artifact_inputs", ["artifact_id"])
    op.create_table(
        "artifact_uploads",
        sa.Column("upload_id", UUID, nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("mime_type", sa.String(100), nullable=False),
        sa.Column("tool_id", UUID),
        *(sa.Column(name, sa.Text) for name in ORIGIN),
        sa.Column("inputs", sa.JSON, nullable=False),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("created_at", "touched_at")),
        sa.Column("expires_at", sa.Double),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("resumable", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("upload_id", name="pk_artifact_uploads"),
    )
    op.create_index("ix_artifact_uploads_touched_at", "artifact_uploads", ["touched_at"])
    for statement in registry_sql.ON_ARTIFACTS[op.get_bind().dialect.name]:
        op.execute(statement)


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("artifact_id", UUID, nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("mime_type", sa.String(100), nullable=False),
        sa.Column("storage_pointer", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("created_by_tool_id", UUID),
        sa.Column("state", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text) for name in ORIGIN),
        sa.Column("inputs", sa.JSON, nullable=False),
        *(sa.Column(name, sa.Double) for name in ("expires_at", "verified_at")),
        sa.PrimaryKeyConstraint("artifact_id", name="pk_artifacts"),
        sa.ForeignKeyConstraint(
            ["created_by_tool_id"], ["tools.tool_id"], name="fk_artifacts_created_by_tool_id", ondelete="SET NULL"
        ),
        sa.CheckConstraint("size_bytes >= 0", name="ck_artifacts_size_bytes"),
    )
    for name, columns, filled in INDEXES:
        where = sa.text(f"{filled} IS NOT NULL") if filled else None
        op.create_index(f"ix_artifacts_{name}", "artifacts", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for statement in registry_sql.OFF_ARTIFACTS[op.get_bind().dialect.name]:
        op.execute(statement)
    for table in ("artifact_uploads", "artifact_inputs", "artifacts"):
        op.drop_table(table)
