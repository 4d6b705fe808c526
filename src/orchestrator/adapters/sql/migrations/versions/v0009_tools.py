"""Tools, their tags and totals, and the UUIDs of nodes.

`tool_totals` is kept by triggers on the artifacts' table, which the next revision makes with it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from orchestrator.adapters.sql.migrations import registry_sql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def name(length: int) -> sa.types.TypeEngine[str]:
    """In the order of bytes in both databases."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


UUID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
SCHEMA = sa.JSON().with_variant(JSONB(), "postgresql")
TIMES = ("created_at", "updated_at")
NODE_INDEXES = (("source", ["source"]), ("node_type", ["node_type"]), ("status", ["status"]))
TOOL_INDEXES = (
    ("created_at", ["created_at", "tool_id"]),
    ("category", ["category", "name"]),
    ("status", ["status", "category", "name"]),
    ("target_node_id", ["target_node_id", "status", "category", "name"]),
)


def upgrade() -> None:
    _nodes()
    _tools()
    dialect = op.get_bind().dialect.name
    for statement in (*registry_sql.ON_TOOLS[dialect], *registry_sql.VIEWS[dialect]):
        op.execute(statement)
    if dialect == "postgresql":
        for statement in registry_sql.FUNCTIONS:
            op.execute(statement)


def _nodes() -> None:
    op.create_table(
        "registry_nodes",
        sa.Column("node_id", UUID, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("node_type", sa.String(50), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        *(sa.Column(column, sa.Double, nullable=False) for column in TIMES),
        sa.PrimaryKeyConstraint("node_id", name="pk_registry_nodes"),
        sa.UniqueConstraint("id", name="uq_registry_nodes_id"),
        sa.CheckConstraint(
            "node_type IN ('TOOL_EXECUTOR', 'OBSERVATION_NODE', 'ANALYSIS_NODE', 'STORAGE_NODE')",
            name="ck_registry_nodes_node_type",
        ),
        sa.CheckConstraint("status IN ('ACTIVE', 'INACTIVE', 'MAINTENANCE', 'ERROR')", name="ck_registry_nodes_status"),
    )
    for index, columns in (*NODE_INDEXES, ("created_at", ["created_at", "node_id"])):
        op.create_index(f"ix_registry_nodes_{index}", "registry_nodes", columns)


def _tools() -> None:
    op.create_table(
        "tools",
        sa.Column("tool_id", UUID, nullable=False),
        sa.Column("name", name(100), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("category", name(50), nullable=False),
        sa.Column("version", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        *(sa.Column(column, SCHEMA) for column in ("input_schema", "output_schema")),
        sa.Column("target_node_id", UUID),
        *(sa.Column(column, sa.Double, nullable=False) for column in TIMES),
        sa.Column("put_out", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tool_id", name="pk_tools"),
        sa.UniqueConstraint("name", name="uq_tools_name"),
        sa.ForeignKeyConstraint(
            ["target_node_id"], ["registry_nodes.node_id"], name="fk_tools_target_node_id", ondelete="SET NULL"
        ),
        sa.CheckConstraint("status IN ('ENABLED', 'DISABLED', 'DEPRECATED')", name="ck_tools_status"),
    )
    for index, columns in TOOL_INDEXES:
        op.create_index(f"ix_tools_{index}", "tools", columns)
    if op.get_bind().dialect.name == "postgresql":
        for column in ("input_schema", "output_schema"):
            op.create_index(f"ix_tools_{column}_gin", "tools", [column], postgresql_using="gin")
    op.create_table(
        "tool_tags",
        sa.Column("tool_id", UUID, nullable=False),
        sa.Column("tag_name", name(50), nullable=False),
        sa.Column("folded", name(200), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("tool_id", "tag_name", name="pk_tool_tags"),
        sa.ForeignKeyConstraint(["tool_id"], ["tools.tool_id"], name="fk_tool_tags_tool_id", ondelete="CASCADE"),
    )
    op.create_index("ix_tool_tags_folded", "tool_tags", ["folded", "tool_id"])
    op.create_table(
        "tool_totals",
        sa.Column("tool_id", UUID, nullable=False),
        sa.Column("name", name(100), nullable=False),
        sa.Column("category", name(50), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("target_node_id", UUID),
        *(sa.Column(column, sa.BigInteger, nullable=False) for column in ("artifacts", "bytes", "largest")),
        *(sa.Column(column, sa.Double, nullable=False) for column in ("first_at", "last_at")),
        sa.PrimaryKeyConstraint("tool_id", name="pk_tool_totals"),
        sa.ForeignKeyConstraint(["tool_id"], ["tools.tool_id"], name="fk_tool_totals_tool_id", ondelete="CASCADE"),
    )
    op.create_index("ix_tool_totals_bytes", "tool_totals", ["bytes"])
    op.create_index("ix_tool_totals_artifacts", "tool_totals", ["artifacts", "last_at"])


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for signature in registry_sql.SIGNATURES:
            op.execute(f"DROP FUNCTION {signature}")
    for view in registry_sql.VIEW_NAMES:
        op.execute(f"DROP VIEW {view}")
    for table in ("tool_totals", "tool_tags", "tools", "registry_nodes"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        for signature in registry_sql.TOOL_FUNCTIONS:
            op.execute(f"DROP FUNCTION {signature}")
