"""The words of tools and artifacts, to search them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

from orchestrator.adapters.sql.migrations import text_sql
from orchestrator.adapters.sql.texts import vector
from orchestrator.domain.searched import artifact_words, tool_words
from orchestrator.domain.text_search import Text

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

UUID = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
PENDING = sa.text("pending")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = (("tool_texts", "tool_id", "tools"), ("artifact_texts", "artifact_id", "artifacts"))
# A page after another: a cursor over a table would be in the way of what changes it.
AFTER = "WHERE (created_at, {key}) > (:at, {after}) ORDER BY created_at, {key} LIMIT 1000"
FIRST = {"at": -1e300, "after": "00000000-0000-0000-0000-000000000000"}
ORIGIN = ("task_id", "run_id", "agent_id", "principal")
TOOLS = (
    "SELECT tool_id, name, category, description, "
    "(SELECT {group} FROM tool_tags g WHERE g.tool_id = t.tool_id) AS tags, created_at FROM tools t "
)
GROUP = {"sqlite": "json_group_array(g.tag_name)", "postgresql": "json_agg(g.tag_name)::text"}
ARTIFACTS = "SELECT artifact_id, file_name, mime_type, task_id, run_id, agent_id, principal, created_at FROM artifacts "


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    for name, key, parent in TABLES:
        op.create_table(
            name,
            sa.Column("seq", SERIAL, nullable=False),
            sa.Column(key, UUID, nullable=False),
            sa.Column("title", sa.Text, nullable=False),
            sa.Column("body", sa.Text, nullable=False),
            sa.Column("vector", sa.Text().with_variant(TSVECTOR(), "postgresql")),
            sa.Column("pending", sa.Boolean, nullable=False),
            sa.PrimaryKeyConstraint("seq", name=f"pk_{name}"),
            sa.UniqueConstraint(key, name=f"uq_{name}_{key}"),
            sa.ForeignKeyConstraint([key], [f"{parent}.{key}"], name=f"fk_{name}_{key}", ondelete="CASCADE"),
        )
        op.create_index(f"ix_{name}_pending", name, ["seq"], sqlite_where=PENDING, postgresql_where=PENDING)
        if dialect == "postgresql":
            op.create_index(f"ix_{name}_vector_gin", name, ["vector"], postgresql_using="gin")
        elif _has_fts5():
            for statement in text_sql.INDEX:
                op.execute(statement.format(name=name))
    _fill("tool_texts", "tool_id", TOOLS.format(group=GROUP[dialect]), _of_tool)
    _fill("artifact_texts", "artifact_id", ARTIFACTS, _of_artifact)


def _has_fts5() -> bool:
    found = op.get_bind().execute(sa.text("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'"))
    return found.first() is not None


def _of_tool(row: Mapping[Any, Any]) -> Text:
    return tool_words(row["name"], row["category"], row["description"], json.loads(row["tags"] or "[]"))


def _of_artifact(row: Mapping[Any, Any]) -> Text:
    return artifact_words(*(row[name] for name in ("file_name", "mime_type", *ORIGIN)))


def _fill(table: str, key: str, query: str, read: Any) -> None:
    """What is there already."""
    connection, place = op.get_bind(), FIRST
    after = "CAST(:after AS uuid)" if connection.dialect.name == "postgresql" else ":after"
    page = sa.text(query + AFTER.format(key=key, after=after))
    while rows := connection.execute(page, place).mappings().all():
        _insert(connection, table, key, ((str(row[key]), read(row)) for row in rows))
        place = {"at": rows[-1]["created_at"], "after": str(rows[-1][key])}


def _insert(connection: sa.Connection, table: str, key: str, texts: Iterable[tuple[str, Text]]) -> None:
    there = connection.dialect.name == "postgresql"
    made = sa.text("CAST(:vector AS tsvector)" if there else "NULL")
    columns = {key: sa.bindparam(key, type_=UUID), "pending": sa.true(), "vector": made}
    columns |= {name: sa.bindparam(name, type_=sa.Text()) for name in ("title", "body")}
    statement = sa.insert(sa.table(table, *map(sa.column, columns))).values(columns)
    rows = [
        {
            key: one,
            "title": " ".join(text.title),
            "body": " ".join(text.body),
            **({"vector": vector(text)} if there else {}),
        }
        for one, text in texts
    ]
    if rows:
        connection.execute(statement, rows)


def downgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    for name, _, _ in TABLES:
        if sqlite:
            op.execute(f"DROP TABLE IF EXISTS {name}_fts")
        op.drop_table(name)  # with its triggers
