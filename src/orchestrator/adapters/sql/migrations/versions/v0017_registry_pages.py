"""Indexes for pages and sums of a registry with a million artifacts: what is passed over is read from them alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ORPHANED = sa.text(
    "created_by_tool_id IS NULL AND task_id IS NULL AND run_id IS NULL AND agent_id IS NULL AND call_id IS NULL"
)
SUMS = ["category", "status", "target_node_id", "artifacts", "bytes", "first_at", "last_at"]
MOST_USED: list[str | sa.TextClause] = [sa.text("uses DESC"), sa.text("used_at DESC"), "name", "tool_id"]
IN_ORDER = (
    ("category", ["category", "name"]),
    ("status", ["status", "category", "name"]),
    ("target_node_id", ["target_node_id", "status", "category", "name"]),
)
SCHEMAS = ("input", "output")


def upgrade() -> None:
    orphans = ["created_by_tool_id", "artifact_id"]
    op.create_index("ix_artifacts_orphaned", "artifacts", orphans, sqlite_where=ORPHANED, postgresql_where=ORPHANED)
    op.create_index("ix_tools_status_created_at", "tools", ["status", "created_at", "tool_id"])
    op.create_index("ix_tools_name", "tools", ["name", "tool_id"])
    for name, columns in IN_ORDER:
        op.drop_index(f"ix_tools_{name}", "tools")
        op.create_index(f"ix_tools_{name}", "tools", [*columns, "tool_id"])
    op.create_index("ix_tool_totals_category", "tool_totals", SUMS)
    op.drop_index("ix_tool_totals_uses", "tool_totals")
    op.create_index("ix_tool_totals_uses_desc", "tool_totals", MOST_USED)
    if op.get_bind().dialect.name == "postgresql":
        for name in SCHEMAS:
            op.execute(
                f"CREATE INDEX ix_tools_{name}_properties_gin ON tools USING gin (({name}_schema->'properties'))"
            )


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for name in SCHEMAS:
            op.drop_index(f"ix_tools_{name}_properties_gin", "tools")
    op.drop_index("ix_tool_totals_uses_desc", "tool_totals")
    op.create_index("ix_tool_totals_uses", "tool_totals", ["uses", "used_at"])
    op.drop_index("ix_tool_totals_category", "tool_totals")
    for name, columns in IN_ORDER:
        op.drop_index(f"ix_tools_{name}", "tools")
        op.create_index(f"ix_tools_{name}", "tools", columns)
    op.drop_index("ix_tools_name", "tools")
    op.drop_index("ix_tools_status_created_at", "tools")
    op.drop_index("ix_artifacts_orphaned", "artifacts")
