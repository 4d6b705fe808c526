"""The triggers on artifacts since revision 0012: what a call of a tool has made is no use of its own, as the call is
one. They replace those of `registry_sql.ON_ARTIFACTS`."""

from __future__ import annotations

from orchestrator.adapters.sql.migrations import registry_sql

_EXTREMES = """
    largest = coalesce((SELECT max(a.size_bytes) FROM artifacts a WHERE a.created_by_tool_id = @tool), 0),
    first_at = coalesce((SELECT min(a.created_at) FROM artifacts a WHERE a.created_by_tool_id = @tool), 0),
    last_at = coalesce((SELECT max(a.created_at) FROM artifacts a WHERE a.created_by_tool_id = @tool), 0),
    used_at = @greatest(called_at,
                   coalesce((SELECT max(a.created_at) FROM artifacts a WHERE a.created_by_tool_id = @tool), 0))
"""
_SQLITE_MORE = """
  UPDATE tool_totals SET artifacts = artifacts + 1, bytes = bytes + NEW.size_bytes,
    uses = uses + (NEW.call_id IS NULL), used_at = max(used_at, NEW.created_at),
    largest = max(largest, NEW.size_bytes), last_at = max(last_at, NEW.created_at),
    first_at = CASE WHEN artifacts = 0 THEN NEW.created_at ELSE min(first_at, NEW.created_at) END
  WHERE tool_id = NEW.created_by_tool_id;
"""
_SQLITE_LESS = """
  UPDATE tool_totals SET artifacts = artifacts - 1, bytes = bytes - OLD.size_bytes,
    uses = uses - (OLD.call_id IS NULL),
  @extremes
  WHERE tool_id = OLD.created_by_tool_id;
""".replace("@extremes", _EXTREMES.replace("@tool", "OLD.created_by_tool_id").replace("@greatest", "max"))
_COLUMNS = "created_by_tool_id, call_id, size_bytes, created_at"
_TRIGGERS = ("artifacts_added", "artifacts_removed", "artifacts_changed")
_SQLITE = (
    *(f"DROP TRIGGER {name}" for name in _TRIGGERS),
    f"CREATE TRIGGER artifacts_added AFTER INSERT ON artifacts WHEN NEW.created_by_tool_id IS NOT NULL BEGIN"
    f"{_SQLITE_MORE}END",
    f"CREATE TRIGGER artifacts_removed AFTER DELETE ON artifacts WHEN OLD.created_by_tool_id IS NOT NULL BEGIN"
    f"{_SQLITE_LESS}END",
    f"CREATE TRIGGER artifacts_changed AFTER UPDATE OF {_COLUMNS} ON artifacts BEGIN{_SQLITE_LESS}{_SQLITE_MORE}END",
)
_POSTGRES_MORE = """
    UPDATE tool_totals s SET artifacts = s.artifacts + n.artifacts, bytes = s.bytes + n.bytes,
      uses = s.uses + n.uses, used_at = greatest(s.used_at, n.last_at),
      largest = greatest(s.largest, n.largest), last_at = greatest(s.last_at, n.last_at),
      first_at = CASE WHEN s.artifacts = 0 THEN n.first_at ELSE least(s.first_at, n.first_at) END
    FROM (SELECT created_by_tool_id AS tool_id, count(*) AS artifacts, sum(size_bytes)::bigint AS bytes,
            count(*) FILTER (WHERE call_id IS NULL) AS uses,
            max(size_bytes) AS largest, min(created_at) AS first_at, max(created_at) AS last_at
          FROM added WHERE created_by_tool_id IS NOT NULL GROUP BY 1) n
    WHERE s.tool_id = n.tool_id;
"""
_POSTGRES_LESS = """
    UPDATE tool_totals s SET artifacts = s.artifacts - n.artifacts, bytes = s.bytes - n.bytes,
    uses = s.uses - n.uses,
    @extremes
    FROM (SELECT created_by_tool_id AS tool_id, count(*) AS artifacts, sum(size_bytes)::bigint AS bytes,
            count(*) FILTER (WHERE call_id IS NULL) AS uses
          FROM removed WHERE created_by_tool_id IS NOT NULL GROUP BY 1) n
    WHERE s.tool_id = n.tool_id;
""".replace("@extremes", _EXTREMES.replace("@tool", "s.tool_id").replace("@greatest", "greatest"))
_LOCK = """
    PERFORM FROM tool_totals WHERE tool_id IN (SELECT created_by_tool_id FROM @rows) ORDER BY tool_id FOR UPDATE;
"""
_EITHER = "(SELECT created_by_tool_id FROM added UNION SELECT created_by_tool_id FROM removed) both_of_them"


def _function(name: str, rows: str, body: str) -> str:
    lock = _LOCK.replace("@rows", rows)
    head = f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    return f"{head}\n{lock}{body}\n    RETURN NULL;\nEND $$"


_POSTGRES = (
    _function("artifacts_added", "added", _POSTGRES_MORE),
    _function("artifacts_removed", "removed", _POSTGRES_LESS),
    _function("artifacts_changed", _EITHER, _POSTGRES_LESS + _POSTGRES_MORE),
)
NEW_TRIGGERS = {"sqlite": _SQLITE, "postgresql": _POSTGRES}


def _earlier(dialect: str) -> tuple[str, ...]:
    made = [text for text in registry_sql.ON_ARTIFACTS[dialect] if not text.lstrip().startswith("CREATE VIEW")]
    if dialect == "sqlite":
        return (*(f"DROP TRIGGER {name}" for name in _TRIGGERS), *made)
    functions = [text for text in made if text.startswith("CREATE FUNCTION")]
    return tuple(text.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1) for text in functions)


OLD_TRIGGERS = {dialect: _earlier(dialect) for dialect in ("sqlite", "postgresql")}
VIEW_OF_ARTIFACTS = registry_sql.ON_ARTIFACTS["sqlite"][-1]
