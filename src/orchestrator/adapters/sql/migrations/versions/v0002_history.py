"""The history of requests: requests, decisions, sums by minute and hour, and the names that occur in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BUCKETS = 16


def upgrade() -> None:
    _names()
    _requests()
    _decisions()
    _sums()


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _integers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False) for name in names]


def _names() -> None:
    op.create_table(
        "names",
        sa.Column("id", sa.Integer, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("used", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_names"),
        sa.UniqueConstraint("name", name="uq_names_name"),
        sqlite_autoincrement=True,
    )


def _requests() -> None:
    op.create_table(
        "requests",
        sa.Column("id", _number(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("duration", sa.BigInteger, nullable=False),
        sa.Column("queue_wait", sa.BigInteger, nullable=False),
        sa.Column("ttft", sa.BigInteger),
        *_integers("request_hash", "node", "model", "endpoint", "principal", "error", "outcome"),
        *_integers("prompt_tokens", "completion_tokens"),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("tries", sa.SmallInteger, nullable=False),
        sa.Column("continuations", sa.SmallInteger, nullable=False),
        sa.Column("flags", sa.SmallInteger, nullable=False),
        sa.Column("trouble", sa.SmallInteger, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("trace", sa.Text),
        sa.Column("attempts", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    series = ["node", "model", "endpoint", "principal"]
    op.create_index("ix_requests_at", "requests", ["at", *series])
    op.create_index("ix_requests_request_hash", "requests", ["request_hash"])
    op.create_index(
        "ix_requests_trouble",
        "requests",
        ["at", *series, "error", "outcome", "tries"],
        sqlite_where=sa.text("trouble = 1"),
        postgresql_where=sa.text("trouble = 1"),
    )


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", _number(), autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        *_integers("node", "model", "policy", "reason"),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("candidates", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_at", "decisions", ["at", "node", "model"])


def _sums() -> None:
    op.create_table(
        "rollups",
        *_integers("span", "start", "node", "model", "endpoint"),
        *_integers("requests", "answered", "errors", "cancelled", "streams"),
        sa.Column("chunks", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("duration_sum", sa.Double, nullable=False),
        sa.Column("ttft_sum", sa.Double, nullable=False),
        sa.Column("queue_wait_sum", sa.Double, nullable=False),
        *_integers(*(f"duration_{bucket}" for bucket in range(BUCKETS))),
        *_integers(*(f"ttft_{bucket}" for bucket in range(BUCKETS))),
        sa.PrimaryKeyConstraint("span", "start", "node", "model", "endpoint", name="pk_rollups"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "failures",
        *_integers("span", "start", "node", "model", "endpoint", "error", "failed"),
        sa.PrimaryKeyConstraint("span", "start", "node", "model", "endpoint", "error", name="pk_failures"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("failures", "rollups", "decisions", "requests", "names"):
        op.drop_table(table)
