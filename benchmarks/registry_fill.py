"""A registry of a size: nodes, tools with tags and schemas, artifacts. Written with direct SQL, in the form that the
service itself writes, so that a million of them take a minute or two. The same in every run."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from uuid import UUID

import asyncpg

from orchestrator.adapters.sql.texts import vector
from orchestrator.domain.searched import artifact_words, tool_words
from orchestrator.domain.text_search import Text
from orchestrator.domain.tool import folded

DAY = 86_400.0
AT_ONCE = 50_000
SYLLABLES = [first + second for first in "klmrstvgdf" for second in "aeiou"]
KINDS = (("TOOL_EXECUTOR", "ACTIVE"), ("OBSERVATION_NODE", "INACTIVE"), ("ANALYSIS_NODE", "ACTIVE"))
STATUSES = ("ENABLED",) * 8 + ("DISABLED", "DEPRECATED")
CATEGORIES = ("ANALYSIS", "PROCESSING", "VALIDATION", "STORAGE", *(f"TEAM-{number:02d}" for number in range(36)))
TYPES = (
    ("pdf", "application/pdf"),
    ("json", "application/json"),
    ("png", "image/png"),
    ("csv", "text/csv"),
    ("log", "text/plain"),
    ("parquet", "application/vnd.apache.parquet"),
)
NODES = 200

NODE_COLUMNS = ("node_id", "id", "source", "node_type", "address", "status", "created_at", "updated_at")
TOOL_COLUMNS = (
    *("tool_id", "name", "description", "category", "version", "status", "input_schema", "output_schema"),
    *("target_node_id", "created_at", "updated_at", "put_out"),
)
TAG_COLUMNS = ("tool_id", "tag_name", "folded", "created_at")
ARTIFACT_COLUMNS = (
    *("artifact_id", "file_name", "mime_type", "storage_pointer", "size_bytes", "created_at", "created_by_tool_id"),
    *("state", "task_id", "run_id", "agent_id", "principal", "sha256", "inputs", "expires_at", "verified_at"),
)
TEXT_COLUMNS = ("title", "body", "pending")
TOTALS = """
UPDATE tool_totals SET (artifacts, uses, bytes, largest, first_at, last_at, used_at) =
  (found.number, found.number, found.bytes, found.largest, found.first, found.last, found.last)
FROM (SELECT created_by_tool_id AS tool, count(*) AS number, sum(size_bytes) AS bytes, max(size_bytes) AS largest,
        min(created_at) AS first, max(created_at) AS last
      FROM artifacts WHERE created_by_tool_id NOTNULL GROUP BY 1) AS found
WHERE tool_id = found.tool
"""
Row = tuple[object, ...]


@dataclass(frozen=True)
class Sample:
    """Things that are there, to ask for."""

    node: str
    tool: str
    tool_name: str
    artifact: str
    file_name: str
    task: str
    sha256: str
    word: str  # of every tenth thing or so
    rare: str  # of very few
    tag: str


class Content:
    """Rows in the order in which they came. Ask for nodes, tools, tags and artifacts in this order."""

    def __init__(self, tools: int, artifacts: int) -> None:
        self.tools, self.artifacts = tools, artifacts
        self._draw = random.Random(5)
        self.words = sorted({"".join(self._draw.choices(SYLLABLES, k=3)) for _ in range(3_000)})
        self._weights = [1.0 / (place + 1) for place in range(len(self.words))]  # few are common (Zipf)
        self._node_ids = [self._id() for _ in range(NODES)]
        self._tool_ids = [self._id() for _ in range(tools)]
        self._tool_names = [f"{self._word()}_{self._word()}_{number}" for number in range(tools)]
        self._tags = [(self._word(), f"Team {self._draw.randrange(400)}") for _ in range(tools)]
        self._now = time.time()
        self._middle: Row = ()

    def nodes(self) -> Iterator[Row]:
        for number, node in enumerate(self._node_ids):
            kind, status = KINDS[number % len(KINDS)]
            at = self._now - 400 * DAY + number
            yield node, node, "registry", kind, f"http://worker-{number}:8000", status, at, at

    def tool_rows(self) -> Iterator[tuple[Row, list[Row], Text]]:
        """Each with its tags and what is searched of it."""
        draw = self._draw
        for number, (tool, name) in enumerate(zip(self._tool_ids, self._tool_names, strict=True)):
            at = self._now - 390 * DAY + number
            about = " ".join(self._word() for _ in range(draw.randrange(6, 20)))
            category, tags = CATEGORIES[draw.randrange(len(CATEGORIES))], sorted(set(self._tags[number]))
            node = self._node_ids[number % NODES] if number % 7 else None
            row = (
                *(tool, name, about, category, f"1.{number % 20}.0", STATUSES[number % len(STATUSES)]),
                *(self._schema(), self._schema(), node, at, at, False),
            )
            links: list[Row] = [(tool, tag, folded(tag), at) for tag in tags]
            yield row, links, tool_words(name, category, about, tags)

    def artifact_rows(self) -> Iterator[tuple[Row, Text]]:
        draw, now = self._draw, self._now
        for number in range(self.artifacts):
            ending, kind = TYPES[draw.randrange(len(TYPES))]
            name = f"{self._word()}-{self._word()}-{number}.{ending}"
            tool = None if number % 20 == 0 else self._tool_ids[min(int(draw.paretovariate(0.3)), self.tools) - 1]
            kept = number % 3 == 0
            task = f"task-{number:x}" if number % 5 else None
            at = now - 360 * DAY * (1 - number / self.artifacts)
            size = int(draw.lognormvariate(12, 2.5))
            artifact = self._id()
            run = f"run-{number % 50_000}" if number % 4 == 1 else None
            key = f"key:team-{number % 40}"
            row = (
                *(artifact, name, kind, f"s3://artifacts/{artifact}", size, at, tool),
                *("stored" if kept else "external", task, run, None),
                *(key, f"{draw.getrandbits(256):064x}" if kept else None, "[]"),
                *(now + 30 * DAY if number % 10 == 3 else None, now if kept else None),
            )
            if number == self.artifacts // 2 // 15 * 15 + 3:
                self._middle = row
            yield row, artifact_words(name, kind, task, run, None, key)

    def sample(self) -> Sample:
        """Of what was made."""
        row, half = self._middle, self.tools // 2
        texts = (str(row[place]) for place in (0, 1, 8, 12))
        artifact, file_name, task, sha256 = texts
        word, rare = self.words[2], self.words[-1]
        return Sample(
            *(self._node_ids[3], self._tool_ids[half], self._tool_names[half]),
            *(artifact, file_name, task, sha256, word, rare, self._tags[half][1]),
        )

    def _word(self) -> str:
        return self._draw.choices(self.words, cum_weights=self._cumulated)[0]

    @property
    def _cumulated(self) -> list[float]:
        found: list[float] | None = getattr(self, "_sums", None)
        if found is None:
            total, found = 0.0, []
            for weight in self._weights:
                total += weight
                found.append(total)
            self._sums = found
        return found

    def _id(self) -> str:
        return str(UUID(int=self._draw.getrandbits(128), version=4))

    def _schema(self) -> str:
        names = self._draw.sample(self.words, 3)
        return json.dumps({"type": "object", "properties": {name: {"type": "string"} for name in names}})


def fill_sqlite(path: str, content: Content) -> None:
    """Into a database whose tables are there."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", "foreign_keys=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        _many(connection, "registry_nodes", NODE_COLUMNS, content.nodes())
        tools = content.tool_rows()
        while some := list(islice(tools, AT_ONCE)):
            _many(connection, "tools", TOOL_COLUMNS, (row for row, _, _ in some))
            _many(connection, "tool_tags", TAG_COLUMNS, (link for _, links, _ in some for link in links))
            texts = (_texts(row[0], text) for row, _, text in some)
            _many(connection, "tool_texts", ("tool_id", *TEXT_COLUMNS), texts)
        with _bare(connection, "artifacts", "artifact_texts"):
            artifacts = content.artifact_rows()
            while found := list(islice(artifacts, AT_ONCE)):
                _many(connection, "artifacts", ARTIFACT_COLUMNS, (row for row, _ in found))
                texts = (_texts(row[0], text) for row, text in found)
                _many(connection, "artifact_texts", ("artifact_id", *TEXT_COLUMNS), texts)
            connection.execute(TOTALS)
            connection.execute("INSERT INTO artifact_texts_fts (artifact_texts_fts) VALUES ('rebuild')")
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


@contextmanager
def _bare(connection: sqlite3.Connection, *tables: str) -> Iterator[None]:
    """Without the tables' indexes and triggers, which are made at once afterwards."""
    names = ", ".join(f"'{name}'" for name in tables)
    found = connection.execute(
        f"SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql NOTNULL "
        f"AND tbl_name IN ({names}) ORDER BY name"
    ).fetchall()
    for kind, name, _ in found:
        connection.execute(f"DROP {kind} {name}")
    yield
    for _, _, statement in found:
        connection.execute(statement)


def _texts(thing: object, text: Text) -> Row:
    return thing, " ".join(text.title), " ".join(text.body), True


def _many(connection: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Iterator[Row]) -> None:
    places = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)


async def fill_postgres(url: str, content: Content) -> None:
    """The same. What came is vacuumed and analyzed, as the server would do by itself in the next minutes."""
    connection = await asyncpg.connect(url)
    try:
        await connection.copy_records_to_table("registry_nodes", records=content.nodes(), columns=NODE_COLUMNS)
        tools = content.tool_rows()
        while some := list(islice(tools, AT_ONCE)):
            await connection.copy_records_to_table("tools", records=[row for row, _, _ in some], columns=TOOL_COLUMNS)
            links = [link for _, links, _ in some for link in links]
            await connection.copy_records_to_table("tool_tags", records=links, columns=TAG_COLUMNS)
            await _copy_texts(connection, "tool", [(row[0], text) for row, _, text in some])
        artifacts = content.artifact_rows()
        while found := list(islice(artifacts, AT_ONCE)):
            rows = [row for row, _ in found]
            await connection.copy_records_to_table("artifacts", records=rows, columns=ARTIFACT_COLUMNS)
            await _copy_texts(connection, "artifact", [(row[0], text) for row, text in found])
        await connection.execute("VACUUM ANALYZE", timeout=600)
    finally:
        await connection.close()


async def _copy_texts(
    connection: asyncpg.Connection[asyncpg.Record], kind: str, found: list[tuple[object, Text]]
) -> None:
    """By way of a table with text: the driver has no binary form of a tsvector."""
    await connection.execute("CREATE TEMP TABLE IF NOT EXISTS staged (id uuid, title text, body text, words text)")
    rows = [(*_texts(one, text)[:3], vector(text)) for one, text in found]
    await connection.copy_records_to_table("staged", records=rows, columns=("id", "title", "body", "words"))
    names = f"{kind}_texts ({kind}_id, title, body, vector, pending)"
    await connection.execute(f"INSERT INTO {names} SELECT id, title, body, words::tsvector, true FROM staged")
    await connection.execute("TRUNCATE staged")
