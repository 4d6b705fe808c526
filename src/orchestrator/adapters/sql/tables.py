"""Every table, once for both databases. Times are seconds since the epoch; names follow the values of `domain`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.ports.history import BUCKETS

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


def _text(name: str, *, key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=key, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _time(name: str, *, optional: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=optional)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON, nullable=False)


meta = sa.Table("meta", metadata, _text("name", key=True), _text("value"))

nodes = sa.Table(
    "nodes",
    metadata,
    _text("id", key=True),
    _text("url"),
    _text("kind"),
    _count("max_concurrency"),
    sa.Column("api_key", sa.Text),
    sa.Column("weight", sa.Double, nullable=False),
    _json("labels"),
    _json("models"),
    _text("source"),
    _text("admin_state"),
    _text("admin_reason"),
    _time("admin_since"),
)

removed_nodes = sa.Table("removed_nodes", metadata, _text("id", key=True))

bans = sa.Table(
    "bans",
    metadata,
    _text("node", key=True),
    _text("model", key=True),
    _text("reason"),
    _time("until", optional=True),
    _time("created_at"),
    _text("created_by"),
)

breakers = sa.Table(
    "breakers",
    metadata,
    _text("node", key=True),
    _text("model", key=True),
    _text("state"),
    _count("failure_count"),
    _count("success_count"),
    _time("opened_at"),
    _time("open_until", optional=True),
    _count("open_count"),
    _text("reason"),
    _time("last_failure_at"),
    _time("last_success_at"),
    sa.Column("forced", sa.Boolean, nullable=False),
)

aliases = sa.Table("aliases", metadata, _text("name", key=True), _json("targets"))

overrides = sa.Table(
    "overrides",
    metadata,
    # SQLite counts up by itself only in a column of exactly this type.
    sa.Column("version", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    _json("document"),
    _text("who"),
    _time("changed_at"),
    sqlite_autoincrement=True,
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _text("id", key=True),
    _text("name"),
    _text("prefix"),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    _text("role"),
    _json("models"),
    sa.Column("rate_limit", sa.BigInteger),
    _count("priority"),
    _time("created_at"),
    _time("expires_at", optional=True),
    _time("revoked_at", optional=True),
    _time("last_used_at", optional=True),
)

model_jobs = sa.Table(
    "model_jobs",
    metadata,
    _text("id", key=True),
    *(_text(name) for name in ("kind", "model", "node")),
    *(_json(name) for name in ("candidates", "request")),
    *(_text(name) for name in ("who", "status", "detail", "digest")),
    *(_count(name) for name in ("completed", "total")),
    _text("error"),
    _time("created_at"),
    _time("started_at", optional=True),
    _time("ended_at", optional=True),
    _count("tries"),
    sa.Column("cancelling", sa.Boolean, nullable=False),
    _text("owner"),
    _time("held_until"),
    sa.Index("ix_model_jobs_created_at", "created_at"),
    sa.Index("ix_model_jobs_status", "status"),
)

workers = sa.Table(
    "workers",
    metadata,
    _text("id", key=True),
    *(_text(name) for name in ("host", "node_type", "status", "held", "mode", "version", "owner")),
    sa.Column("location", sa.Text),
    *(_json(name) for name in ("capabilities", "task_types", "labels", "agents", "metadata")),
    *(_count(name) for name in ("port", "slots", "agents_count", "tasks_completed", "tasks_failed")),
    *(_time(name) for name in ("cpu_usage", "memory_usage", "gpu_usage", "load_score")),
    *(_time(name) for name in ("network_latency", "reliability", "task_seconds")),
    *(_time(name) for name in ("registered_at", "up_since", "heartbeat_at")),
    _time("memory_mb", optional=True),
)

schedules = sa.Table(
    "schedules",
    metadata,
    _text("id", key=True),
    *(_text(name) for name in ("task", "cron", "zone", "catch_up", "principal", "last_task", "last_error")),
    sa.Column("paused", sa.Boolean, nullable=False),
    *(_time(name) for name in ("jitter", "created_at", "anchor")),
    *(_time(name, optional=True) for name in ("every", "tick", "next_run_at", "last_run_at")),
    *(_count(name) for name in ("runs", "failures", "missed", "caught_up", "version")),
    sa.Index("ix_schedules_next_run_at", "next_run_at"),
)

# Finished tasks that have a callback URL: `spec` leaves out what is empty, and text cannot hold bare quotes.
WITH_CALLBACK = {
    "sqlite": """instr(spec, '"callback_url":"') > 0""",
    "postgresql": """strpos(spec, '"callback_url":"') > 0""",
}


def _task_columns() -> list[sa.Column[Any]]:
    return [
        _text("id", key=True),
        _count("seq"),
        _text("type"),
        _text("principal"),
        _count("priority"),
        *(_text(name) for name in ("input", "metadata", "requirements", "spec", "state", "node", "owner")),
        _count("version"),
        _text("rest"),
    ]


tasks = sa.Table(
    "tasks",
    metadata,
    *_task_columns(),
    # One index for pages, take-over and stealing: all read it as a few ranges in the order of `seq`.
    sa.Index("ix_tasks_owner", "owner", "state", "priority", "seq"),
)

tasks_finished = sa.Table(
    "tasks_finished",
    metadata,
    *_task_columns(),
    sa.Column("result", sa.Text),
    sa.Column("performance", sa.Text),
    _time("finished_at"),
    sa.Index("ix_tasks_finished_state", "state", "seq"),
    *(sa.Index(f"ix_tasks_finished_{name}", name, "state", "seq") for name in ("type", "node", "principal")),
    sa.Index(
        "ix_tasks_finished_callback",
        "finished_at",
        sqlite_where=sa.text(WITH_CALLBACK["sqlite"]),
        postgresql_where=sa.text(WITH_CALLBACK["postgresql"]),
    ),
)

webhooks = sa.Table(
    "webhooks",
    metadata,
    _text("id", key=True),
    _text("task"),
    _count("version"),
    *(_text(name) for name in ("url", "principal", "state", "last_error", "owner")),
    *(_time(name) for name in ("created_at", "began_at", "next_at", "held_until")),
    _count("attempts"),
    sa.Column("last_status", sa.BigInteger),
    _time("done_at", optional=True),
    sa.Index("ix_webhooks_state", "state", "next_at"),
    sa.Index("ix_webhooks_task", "task", "version"),
    sa.Index("ix_webhooks_created_at", "created_at"),
    sa.Index("ix_webhooks_done_at", "done_at"),
)

task_keys = sa.Table("task_keys", metadata, _text("principal", key=True), _text("key", key=True), _text("task"))

task_counts = sa.Table(
    "task_counts", metadata, _text("owner", key=True), _text("state", key=True), _count("now"), _count("ended")
)

replicas = sa.Table("replicas", metadata, _text("id", key=True), _time("until"))

switches = sa.Table("switches", metadata, _text("name", key=True), _time("off_since"))

# Events. A row of `event_batches` holds all that one process had to tell at a moment; the one row of `event_head` gives
# the numbers, and whoever changes it is alone until its transaction ends: numbers are in the order of the commits.
event_head = sa.Table(
    "event_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
    *(_count(name) for name in ("last", "forgotten", "size")),
)

event_batches = sa.Table(
    "event_batches",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    _time("at"),
    _count("count"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("ix_event_batches_at", "at"),
)

event_writers = sa.Table("event_writers", metadata, _text("owner", key=True), _count("serial"), _time("at"))

# Log lines of tasks, as many in a row as came at once: `lines` is a list of [at, level, message].
task_log_heads = sa.Table(
    "task_log_heads", metadata, _text("task", key=True), *(_count(name) for name in ("last", "dropped", "size"))
)

task_logs = sa.Table(
    "task_logs",
    metadata,
    _text("task", key=True),
    sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False, nullable=False),
    *(_count(name) for name in ("count", "attempt", "size")),
    _text("lines"),
)


# History. Texts that occur again and again are numbers of `names`, 0 for the empty one; times in microseconds.


def _number() -> sa.Column[int]:
    return sa.Column(
        "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True, nullable=False
    )


def _integer(name: str, *, key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=key, autoincrement=False, nullable=False)


def _small(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.SmallInteger, nullable=False)


names = sa.Table(
    "names",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    _integer("used"),  # the last day, since the epoch, on which something had this name
    sqlite_autoincrement=True,
)

requests = sa.Table(
    "requests",
    metadata,
    _number(),
    _count("at"),
    _count("duration"),
    _count("queue_wait"),
    sa.Column("ttft", sa.BigInteger),
    _integer("request_hash"),
    *(_integer(name) for name in ("node", "model", "endpoint", "principal", "error", "outcome")),
    _integer("prompt_tokens"),
    _integer("completion_tokens"),
    *(_small(name) for name in ("status", "tries", "continuations", "flags", "trouble")),
    _text("request_id"),
    sa.Column("trace", sa.Text),
    sa.Column("attempts", sa.Text),
    # Holds what is asked for, so that the search for something rare reads the index and not the rows.
    sa.Index("ix_requests_at", "at", "node", "model", "endpoint", "principal"),
    sa.Index("ix_requests_request_hash", "request_hash"),
    sa.Index(
        "ix_requests_trouble",
        *("at", "node", "model", "endpoint", "principal", "error", "outcome", "tries"),
        sqlite_where=sa.text("trouble = 1"),
        postgresql_where=sa.text("trouble = 1"),
    ),
)

decisions = sa.Table(
    "decisions",
    metadata,
    _number(),
    _count("at"),
    *(_integer(name) for name in ("node", "model", "policy", "reason")),
    _text("request_id"),
    _text("candidates"),
    sa.Index("ix_decisions_at", "at", "node", "model"),
)

rollups = sa.Table(
    "rollups",
    metadata,
    *(_integer(name, key=True) for name in ("span", "start", "node", "model", "endpoint")),
    # PostgreSQL adds numbers of 32 bits much faster than those of 64.
    *(_integer(name) for name in ("requests", "answered", "errors", "cancelled", "streams")),
    *(_count(name) for name in ("chunks", "prompt_tokens", "completion_tokens")),
    *(_time(name) for name in ("duration_sum", "ttft_sum", "queue_wait_sum")),
    *(_integer(f"duration_{bucket}") for bucket in range(BUCKETS)),
    *(_integer(f"ttft_{bucket}") for bucket in range(BUCKETS)),
    sqlite_with_rowid=False,
)

failures = sa.Table(
    "failures",
    metadata,
    *(_integer(name, key=True) for name in ("span", "start", "node", "model", "endpoint", "error")),
    _integer("failed"),
    sqlite_with_rowid=False,
)
