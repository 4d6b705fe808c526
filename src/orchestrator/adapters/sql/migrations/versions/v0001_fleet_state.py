"""Nodes, bans, breakers, aliases, settings changed at run time, and API keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_meta"),
    )
    _fleet()
    _traffic_state()
    _settings_and_keys()


def _fleet() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("max_concurrency", sa.BigInteger, nullable=False),
        sa.Column("api_key", sa.Text),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("admin_state", sa.Text, nullable=False),
        sa.Column("admin_reason", sa.Text, nullable=False),
        sa.Column("admin_since", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
    )
    op.create_table(
        "removed_nodes",
        sa.Column("id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_removed_nodes"),
    )
    op.create_table(
        "aliases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("targets", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_aliases"),
    )


def _traffic_state() -> None:
    op.create_table(
        "bans",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("until", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("node", "model", name="pk_bans"),
    )
    op.create_table(
        "breakers",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("failure_count", sa.BigInteger, nullable=False),
        sa.Column("success_count", sa.BigInteger, nullable=False),
        sa.Column("opened_at", sa.Double, nullable=False),
        sa.Column("open_until", sa.Double),
        sa.Column("open_count", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("last_failure_at", sa.Double, nullable=False),
        sa.Column("last_success_at", sa.Double, nullable=False),
        sa.Column("forced", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("node", "model", name="pk_breakers"),
    )


def _settings_and_keys() -> None:
    op.create_table(
        "overrides",
        sa.Column("version", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_overrides"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("rate_limit", sa.BigInteger),
        sa.Column("priority", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.Column("last_used_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
    )


def downgrade() -> None:
    for table in ("api_keys", "overrides", "breakers", "bans", "aliases", "removed_nodes", "nodes", "meta"):
        op.drop_table(table)
