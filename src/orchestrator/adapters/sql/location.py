"""Database URLs as operators write them, turned into places that the async drivers can open."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from orchestrator.domain.errors import ConfigurationError

CONNECT_TIMEOUT = 10.0  # seconds
FORMS = "sqlite:///PATH, postgresql://USER:PASSWORD@HOST/NAME or memory://"


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A database file on this machine."""

    path: Path

    def __str__(self) -> str:
        return f"sqlite:///{self.path}"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A database on a server. `dsn` is what asyncpg takes, all parameters of libpq included."""

    dsn: str = field(repr=False)
    shown: str
    connect_timeout: float = CONNECT_TIMEOUT  # seconds

    def __str__(self) -> str:
        return self.shown


def locate(url: str) -> SqliteFile | PostgresServer:
    """Reads a database URL. A driver in the scheme (`postgresql+psycopg`) is ignored: this service brings its own."""
    scheme, separator, rest = url.partition(":")
    match scheme.partition("+")[0].lower() if separator else "":
        case "sqlite" | "sqlite3":
            return _sqlite(rest)
        case "postgresql" | "postgres":
            return _postgres(rest)
        case other:
            found = f"{other}:" if other else "no scheme"
            raise ConfigurationError(f"database URL: expected {FORMS}, found {found}")


def _sqlite(rest: str) -> SqliteFile:
    path, _, parameters = rest.partition("?")
    if parameters:
        raise ConfigurationError("database URL: a SQLite URL takes no parameters")
    if not path.startswith("///"):
        raise ConfigurationError(
            "database URL: a SQLite URL is sqlite:///PATH; an absolute path makes four slashes, sqlite:////var/lib/..."
        )
    if path in {"///", "///:memory:"}:
        raise ConfigurationError("database URL: to keep nothing, use memory:// instead of SQLite's own memory database")
    try:
        return SqliteFile(Path(path[3:]).expanduser())
    except RuntimeError as error:
        raise ConfigurationError(f"database URL: {error}") from error


def _postgres(rest: str) -> PostgresServer:
    if not rest.startswith("//"):
        raise ConfigurationError("database URL: a PostgreSQL URL is postgresql://USER:PASSWORD@HOST/NAME")
    try:
        parts = urlsplit(f"postgresql:{rest}")
        parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
        seconds = float(parameters.pop("connect_timeout", 0)) or CONNECT_TIMEOUT
    except ValueError as error:
        raise ConfigurationError("database URL: the host, or the number in connect_timeout, is malformed") from error
    query = f"?{urlencode(parameters)}" if parameters else ""
    hosts = parts.netloc.rpartition("@")[2] or parameters.get("host", "")
    return PostgresServer(
        dsn=f"postgresql://{parts.netloc}{parts.path}{query}",
        shown=f"postgresql://{hosts}{parts.path}",
        connect_timeout=seconds,
    )
