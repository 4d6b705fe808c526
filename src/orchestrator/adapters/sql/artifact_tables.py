"""The tables of artifacts, once for both databases. Empty texts of the origin are NULL, so that indexes are small."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.adapters.sql.tables import metadata

UUID: sa.types.TypeEngine[str] = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
HERE = sa.text("sha256 IS NOT NULL")  # the bytes are kept by this service

# Of no tool, and of nothing else of ours either. The first column has one value, for which SQLite looks.
ORPHANS = ("created_by_tool_id", "artifact_id")
ORPHANED = sa.text(
    "created_by_tool_id IS NULL AND task_id IS NULL AND run_id IS NULL AND agent_id IS NULL AND call_id IS NULL"
)


def _named() -> list[sa.Column[str]]:
    return [
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("mime_type", sa.String(100), nullable=False),
    ]


def _origin() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text) for name in ("task_id", "run_id", "agent_id", "principal", "sha256", "call_id")]


def _partial(table: str, *columns: str, where: sa.TextClause) -> sa.Index:
    return sa.Index(f"ix_{table}_{columns[0]}", *columns, sqlite_where=where, postgresql_where=where)


artifacts = sa.Table(
    "artifacts",
    metadata,
    sa.Column("artifact_id", UUID, primary_key=True, nullable=False),
    *_named(),
    sa.Column("storage_pointer", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("created_by_tool_id", UUID),
    sa.Column("state", sa.Text, nullable=False),
    *_origin(),
    sa.Column("inputs", sa.JSON, nullable=False),
    *(sa.Column(name, sa.Double) for name in ("expires_at", "verified_at")),
    sa.ForeignKeyConstraint(
        ["created_by_tool_id"], ["tools.tool_id"], name="fk_artifacts_created_by_tool_id", ondelete="SET NULL"
    ),
    sa.CheckConstraint("size_bytes >= 0", name="ck_artifacts_size_bytes"),
    sa.Index("ix_artifacts_file_name", "file_name", "artifact_id"),
    sa.Index("ix_artifacts_mime_type", "mime_type", "created_at", "artifact_id"),
    sa.Index("ix_artifacts_created_at", "created_at", "artifact_id"),
    sa.Index("ix_artifacts_created_by_tool_id", "created_by_tool_id", "created_at", "artifact_id"),
    sa.Index("ix_artifacts_largest_of_tool", "created_by_tool_id", "size_bytes"),
    sa.Index("ix_artifacts_size_bytes", "size_bytes", "artifact_id"),
    _partial("artifacts", "sha256", "created_at", where=HERE),
    _partial("artifacts", "task_id", "created_at", where=sa.text("task_id IS NOT NULL")),
    _partial("artifacts", "run_id", "created_at", where=sa.text("run_id IS NOT NULL")),
    _partial("artifacts", "call_id", where=sa.text("call_id IS NOT NULL")),
    _partial("artifacts", "principal", "size_bytes", where=HERE),
    sa.Index("ix_artifacts_orphaned", *ORPHANS, sqlite_where=ORPHANED, postgresql_where=ORPHANED),
    sa.Index("ix_artifacts_state", "state", "created_at", "artifact_id"),
    _partial("artifacts", "expires_at", "artifact_id", where=sa.text("expires_at IS NOT NULL")),
    _partial("artifacts", "verified_at", "artifact_id", where=HERE),
)

# The other way round of `artifacts.inputs`: what was made of an artifact.
artifact_inputs = sa.Table(
    "artifact_inputs",
    metadata,
    sa.Column("input_id", UUID, primary_key=True, nullable=False),
    sa.Column("artifact_id", UUID, primary_key=True, nullable=False),
    sa.ForeignKeyConstraint(
        ["artifact_id"], ["artifacts.artifact_id"], name="fk_artifact_inputs_artifact_id", ondelete="CASCADE"
    ),
    sa.Index("ix_artifact_inputs_artifact_id", "artifact_id"),
)

artifact_uploads = sa.Table(
    "artifact_uploads",
    metadata,
    sa.Column("upload_id", UUID, primary_key=True, nullable=False),
    *_named(),
    sa.Column("tool_id", UUID),
    *_origin(),
    sa.Column("inputs", sa.JSON, nullable=False),
    *(sa.Column(name, sa.Double, nullable=False) for name in ("created_at", "touched_at")),
    sa.Column("expires_at", sa.Double),
    sa.Column("size_bytes", sa.BigInteger),
    sa.Column("received", sa.BigInteger, nullable=False),
    sa.Column("resumable", sa.Boolean, nullable=False),
    sa.Index("ix_artifact_uploads_touched_at", "touched_at"),
)
