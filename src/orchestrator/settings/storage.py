"""What is kept, and where."""

from __future__ import annotations

from pydantic import field_validator

from orchestrator.settings.section import Duration, Section, setting

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


class History(Section):
    """Finished requests, for analytics and traces."""

    capacity: int = setting(10_000, "Finished requests kept in memory.", ge=0, le=1_000_000)
