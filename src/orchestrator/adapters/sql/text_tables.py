"""What is searched of tools and artifacts: words with one space between them, as `domain.text_search` makes them.

`seq` is the order in which they came. SQLite searches by an FTS5 table of the same name with `_fts` behind it, kept by
triggers; PostgreSQL by the column `vector`, which is empty in SQLite.
`pending`: the meaning is that of other words, or none. Meanings are vectors of `model` (32-bit floats, little-endian)
of the text with this SHA-256.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR

from orchestrator.adapters.sql.registry_tables import uuid
from orchestrator.adapters.sql.tables import metadata

PENDING = sa.text("pending")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _texts(name: str, key: str, parent: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("seq", SERIAL, primary_key=True, nullable=False),
        sa.Column(
            key,
            uuid(),
            sa.ForeignKey(f"{parent}.{key}", name=f"fk_{name}_{key}", ondelete="CASCADE"),
            nullable=False,
            unique=True,
        ),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("vector", sa.Text().with_variant(TSVECTOR(), "postgresql")),
        sa.Column("pending", sa.Boolean, nullable=False),
        sa.Index(f"ix_{name}_pending", "seq", sqlite_where=PENDING, postgresql_where=PENDING),
    )


def _meanings(name: str, key: str, parent: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column(
            key,
            uuid(),
            sa.ForeignKey(f"{parent}.{key}", name=f"fk_{name}_{key}", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Index(f"ix_{name}_at", "at"),
    )


tool_texts = _texts("tool_texts", "tool_id", "tools")
artifact_texts = _texts("artifact_texts", "artifact_id", "artifacts")
tool_meanings = _meanings("tool_meanings", "tool_id", "tools")
artifact_meanings = _meanings("artifact_meanings", "artifact_id", "artifacts")
