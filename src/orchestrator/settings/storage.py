"""What is kept, and where."""

from __future__ import annotations

from pydantic import field_validator

from orchestrator.settings.section import Duration, Section, setting

REDIS_SCHEMES = ("redis", "rediss", "unix")
DATABASE_SCHEMES = ("sqlite", "postgresql", "memory")


class Database(Section):
    """SQLite in the data directory, or PostgreSQL."""

    url: str | None = setting(
        None,
        "sqlite:///path, postgresql://user:password@host/name, or memory:// (kept until the process ends); "
        "none means orchestrator.db in data_dir.",
        secret=True,
        repr=False,
    )
    pool_size: int = setting(10, "Connections kept to PostgreSQL.", ge=1, le=1000)
    timeout: Duration = setting(10.0, "How long to wait for a connection or a lock, in seconds.", gt=0)

    @field_validator("url")
    @classmethod
    def _scheme(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme, mark, _ = value.partition("://")
        if not mark or scheme.partition("+")[0] not in DATABASE_SCHEMES:
            raise ValueError("must start with sqlite:///, postgresql:// or memory://")
        return value


class Redis(Section):
    """Lets replicas on one PostgreSQL hear of each other sooner and share the gateway's counters. It may vanish."""

    url: str | None = setting(
        None, "redis://user:password@host:port/0, rediss:// or unix://; none: no Redis.", secret=True, repr=False
    )

    @field_validator("url")
    @classmethod
    def _scheme(cls, value: str | None) -> str | None:
        if value is not None and value.partition("://")[0] not in REDIS_SCHEMES:
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value


_DAY = 86_400.0


class History(Section):
    """Finished requests and the decisions about them, for analytics and traces. Never prompts or answers."""

    capacity: int = setting(10_000, "Finished requests kept in memory.", ge=0, le=1_000_000)
    enabled: bool = setting(True, "Whether requests and decisions are written to the database.")
    rows_per_second: int = setting(
        500,
        "Requests a second written down one by one, evenly chosen where there are more. Those that failed, were "
        "retried or cancelled come on top; sums per minute count all.",
        live=True,
        ge=0,
        le=100_000,
    )
    decisions_per_second: int = setting(
        20, "Decisions a second explained and written down; 0: none.", live=True, ge=0, le=1000
    )
    keep_requests: Duration = setting(30 * _DAY, "How long requests are kept, in seconds.", live=True, ge=60)
    most_requests: int = setting(1_000_000, "Requests kept at most.", live=True, ge=0)
    keep_decisions: Duration = setting(30 * _DAY, "How long decisions are kept, in seconds.", live=True, ge=60)
    most_decisions: int = setting(20_000, "Decisions kept at most; one is about 1 KB.", live=True, ge=0)
    keep_minutes: Duration = setting(
        2 * _DAY, "How long sums per minute are kept, in seconds; older ones become sums per hour.", live=True, ge=_DAY
    )
    keep_hours: Duration = setting(400 * _DAY, "How long sums per hour are kept, in seconds.", live=True, ge=_DAY)
