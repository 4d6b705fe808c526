"""What a process does for one query of a SQLite file: the file is opened for reading only, and an authorizer refuses
everything that is not a part of the one statement that was asked for."""

from __future__ import annotations

import base64
import json
import math
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

# Of one value, and of a statement. Functions such as instr and LIKE take quadratic time of these.
LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 4 << 20,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 500,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 20,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
STEPS = 10_000  # of SQLite's machine, between two looks at the clock
BUSY = 5.0  # seconds
LOOKS = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"})
REFUSED_FUNCTIONS = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"})
READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
NEVER_WRITING = frozenset(
    {
        sqlite3.SQLITE_ATTACH,
        sqlite3.SQLITE_DETACH,
        sqlite3.SQLITE_CREATE_VTABLE,
        sqlite3.SQLITE_DROP_VTABLE,
        sqlite3.SQLITE_TRANSACTION,
        sqlite3.SQLITE_SAVEPOINT,
    }
)


def ask(given: Mapping[str, Any]) -> dict[str, Any]:
    """`{"columns", "rows", "truncated", "changed"}`, or `{"refused": words}`, or `{"failed": words}`."""
    try:
        connection = _opened(Path(given["path"]), given["writing"])
    except sqlite3.Error as error:
        return {"failed": f"the database cannot be opened: {error}"}
    try:
        return _asked(connection, given)
    except (sqlite3.ProgrammingError, sqlite3.Warning) as error:
        return {"refused": str(error)}
    except sqlite3.DatabaseError as error:
        refused = error.sqlite_errorcode in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_AUTH) if _coded(error) else True
        return {"refused" if refused else "failed": str(error)}
    except (OverflowError, ValueError, UnicodeError) as error:
        return {"refused": str(error)}
    finally:
        connection.close()


def _coded(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) is not None


def _opened(path: Path, writing: bool) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode={'rw' if writing else 'ro'}"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY, isolation_level=None)
    for limit, value in LIMITS.items():
        connection.setlimit(limit, value)
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    if not writing:
        connection.execute("PRAGMA query_only=ON")
    return connection


def _authorized(writing: bool) -> Any:
    def allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_FUNCTION:
            return _verdict((second or "").lower() not in REFUSED_FUNCTIONS)
        if action == sqlite3.SQLITE_PRAGMA:
            return _verdict((first or "").lower() in LOOKS)
        if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
            return _verdict(True)  # said for pragma_table_info(...); SQLite refuses real changes of its schema
        return _verdict(action in READING or (writing and action not in NEVER_WRITING))

    return allowed


def _verdict(allowed: bool) -> int:
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _json_value(value: Any) -> Any:
    """Bytes are `{"base64": ...}`; what JSON has no number for is a text."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _asked(connection: sqlite3.Connection, given: Mapping[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + given["timeout"]
    connection.set_progress_handler(lambda: int(time.monotonic() > end), STEPS)
    if given["writing"]:
        connection.execute("BEGIN IMMEDIATE")
    connection.set_authorizer(_authorized(given["writing"]))
    cursor = connection.execute(given["statement"], given["parameters"])
    if cursor.description is None and not given["writing"]:
        return {"refused": "only statements that give rows may be asked for"}
    columns = [column[0] for column in cursor.description or ()]
    rows: list[list[Any]] = []
    left, truncated = given["max_bytes"], False
    for row in cursor:
        shown = [_json_value(value) for value in row]
        left -= len(json.dumps(shown))
        if len(rows) >= given["max_rows"] or left < 0:
            truncated = True
            break
        rows.append(shown)
    changed = cursor.rowcount if given["writing"] and cursor.rowcount >= 0 else None
    cursor.close()
    if given["writing"]:
        connection.set_authorizer(None)
        connection.execute("COMMIT")
    return {"columns": columns, "rows": rows, "truncated": truncated, "changed": changed}
