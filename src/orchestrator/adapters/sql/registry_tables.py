"""Tables of the registry of tools: nodes as it shows them, tools, their tags and their totals."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from orchestrator.adapters.sql.tables import metadata


def uuid() -> sa.types.TypeEngine[str]:
    """16 bytes in PostgreSQL, text in SQLite; text with dashes for us."""
    return sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")


def _name(name: str, length: int, *, key: bool = False) -> sa.Column[str]:
    # By bytes in both databases: the order of a language would depend on the server.
    kind = sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")
    return sa.Column(name, kind, primary_key=key, nullable=False)


def _times() -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double, nullable=False) for name in ("created_at", "updated_at")]


def _schema(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql"))


SUMS = ("category", "status", "target_node_id", "artifacts", "bytes", "first_at", "last_at")

registry_nodes = sa.Table(
    "registry_nodes",
    metadata,
    sa.Column("node_id", uuid(), primary_key=True, nullable=False),
    sa.Column("id", sa.Text, nullable=False, unique=True),  # the node's own: of a worker, a model server, or `node_id`
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("node_type", sa.String(50), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    *_times(),
    *(sa.Index(f"ix_registry_nodes_{name}", name) for name in ("source", "node_type", "status")),
    sa.Index("ix_registry_nodes_created_at", "created_at", "node_id"),
)

tools = sa.Table(
    "tools",
    metadata,
    sa.Column("tool_id", uuid(), primary_key=True, nullable=False),
    sa.Column(
        "name",
        sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql"),
        nullable=False,
        unique=True,
    ),
    sa.Column("description", sa.Text),
    _name("category", 50),
    sa.Column("version", sa.String(20), nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    _schema("input_schema"),
    _schema("output_schema"),
    sa.Column(
        "target_node_id",
        uuid(),
        sa.ForeignKey("registry_nodes.node_id", name="fk_tools_target_node_id", ondelete="SET NULL"),
    ),
    *_times(),
    sa.Column("put_out", sa.Boolean, nullable=False),
    _schema("execution"),
    *(sa.Column(name, sa.String(20)) for name in ("kind", "side_effect")),  # of the execution, to look for
    sa.Index("ix_tools_created_at", "created_at", "tool_id"),
    sa.Index("ix_tools_name", "name", "tool_id"),
    sa.Index("ix_tools_category", "category", "name", "tool_id"),
    sa.Index("ix_tools_status", "status", "category", "name", "tool_id"),
    sa.Index("ix_tools_status_created_at", "status", "created_at", "tool_id"),
    *(sa.Index(f"ix_tools_{name}", name, "created_at", "tool_id") for name in ("kind", "side_effect")),
    sa.Index("ix_tools_target_node_id", "target_node_id", "status", "category", "name", "tool_id"),
)

tool_tags = sa.Table(
    "tool_tags",
    metadata,
    sa.Column(
        "tool_id",
        uuid(),
        sa.ForeignKey("tools.tool_id", name="fk_tool_tags_tool_id", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    ),
    _name("tag_name", 50, key=True),
    _name("folded", 200),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Index("ix_tool_tags_folded", "folded", "tool_id"),
)

# What each tool has made, in rows without schemas, so that reports over all tools are fast. Triggers keep them: on the
# tools' table what names a tool, on the artifacts' table the numbers. A use is a call that was carried out, or an
# artifact that no call made: calls are counted as their ends are written down.
tool_totals = sa.Table(
    "tool_totals",
    metadata,
    sa.Column(
        "tool_id",
        uuid(),
        sa.ForeignKey("tools.tool_id", name="fk_tool_totals_tool_id", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    ),
    _name("name", 100),
    _name("category", 50),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("target_node_id", uuid()),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("artifacts", "bytes", "largest")),
    *(sa.Column(name, sa.Double, nullable=False) for name in ("first_at", "last_at")),  # 0 without artifacts
    sa.Column("uses", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    *(sa.Column(name, sa.Double, nullable=False, server_default=sa.text("0")) for name in ("called_at", "used_at")),
    sa.Index("ix_tool_totals_bytes", "bytes"),
    sa.Index("ix_tool_totals_category", *SUMS),
    sa.Index("ix_tool_totals_artifacts", "artifacts", "last_at"),
)
