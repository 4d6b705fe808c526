"""Views and functions of the registry, for whoever reads the database itself. Tags of an untagged tool are empty.

SQLite cannot alter a table under a view: a revision that does so drops the views first.
"""

from __future__ import annotations

_ACTIVE = """
CREATE VIEW active_tools_with_nodes AS
SELECT t.tool_id, t.name, t.description, t.category, t.version, t.status AS tool_status,
       n.node_id, n.node_type, n.address, n.status AS node_status
FROM tools t LEFT JOIN registry_nodes n ON n.node_id = t.target_node_id
WHERE t.status = 'ENABLED'
"""
_TAGGED = """
CREATE VIEW tools_with_tags AS
SELECT t.tool_id, t.name, t.description, t.category, t.version, t.status, t.input_schema, t.output_schema,
       t.target_node_id, t.created_at, t.updated_at, @tags AS tags
FROM tools t
"""
_ARRAY = "ARRAY(SELECT g.tag_name::text FROM tool_tags g WHERE g.tool_id = t.tool_id ORDER BY g.tag_name)"
_JSON = (
    "(SELECT json_group_array(tag_name) FROM "
    "(SELECT g.tag_name FROM tool_tags g WHERE g.tool_id = t.tool_id ORDER BY g.tag_name))"
)
VIEW_NAMES = ("active_tools_with_nodes", "tools_with_tags")
VIEWS = {
    "postgresql": (_ACTIVE, _TAGGED.replace("@tags", _ARRAY)),
    "sqlite": (_ACTIVE, _TAGGED.replace("@tags", _JSON)),
}

SIGNATURES = ("get_tools_by_tag(text)", "get_node_statistics()", "search_tools_by_schema(text, text)")
FUNCTIONS = (
    """
CREATE FUNCTION get_tools_by_tag(wanted text)
RETURNS TABLE (tool_id uuid, name varchar, description text, category varchar, version varchar, status varchar,
               tags text[])
LANGUAGE sql STABLE AS $$
SELECT t.tool_id, t.name, t.description, t.category, t.version, t.status, @tags
FROM tools t
WHERE EXISTS (SELECT FROM tool_tags o WHERE o.tool_id = t.tool_id AND o.tag_name = wanted)
ORDER BY t.name
$$
""".replace("@tags", _ARRAY),
    """
CREATE FUNCTION get_node_statistics()
RETURNS TABLE (node_id uuid, node_type varchar, address text, status varchar, total_tools bigint, active_tools bigint,
               total_artifacts bigint, total_storage_bytes bigint)
LANGUAGE sql STABLE AS $$
SELECT n.node_id, n.node_type, n.address, n.status, count(t.tool_id),
       count(t.tool_id) FILTER (WHERE t.status = 'ENABLED'), coalesce(sum(s.artifacts), 0)::bigint,
       coalesce(sum(s.bytes), 0)::bigint
FROM registry_nodes n LEFT JOIN tools t ON t.target_node_id = n.node_id LEFT JOIN tool_totals s USING (tool_id)
GROUP BY n.node_id
ORDER BY n.node_type, n.status, n.created_at, n.node_id
$$
""",
    """
CREATE FUNCTION search_tools_by_schema(input_property text DEFAULT NULL, output_property text DEFAULT NULL)
RETURNS TABLE (tool_id uuid, tool_name varchar, category varchar, input_schema jsonb, output_schema jsonb)
LANGUAGE sql STABLE AS $$
SELECT t.tool_id, t.name, t.category, t.input_schema, t.output_schema
FROM tools t
WHERE t.status = 'ENABLED'
  AND (input_property IS NULL OR t.input_schema @? ('$.properties.' || to_json(input_property))::jsonpath)
  AND (output_property IS NULL OR t.output_schema @? ('$.properties.' || to_json(output_property))::jsonpath)
ORDER BY t.category, t.name
$$
""",
)

# What keeps `tool_totals`: its names follow the tools, its numbers the artifacts.
_SQLITE_TOOLS = (
    """
CREATE TRIGGER tools_added AFTER INSERT ON tools BEGIN
  INSERT INTO tool_totals (tool_id, name, category, status, target_node_id,
                           artifacts, bytes, largest, first_at, last_at)
  VALUES (NEW.tool_id, NEW.name, NEW.category, NEW.status, NEW.target_node_id, 0, 0, 0, 0, 0);
END
""",
    """
CREATE TRIGGER tools_changed AFTER UPDATE OF name, category, status, target_node_id ON tools BEGIN
  UPDATE tool_totals SET name = NEW.name, category = NEW.category, status = NEW.status,
    target_node_id = NEW.target_node_id
  WHERE tool_id = NEW.tool_id;
END
""",
)
_POSTGRES_ADDED = """
    INSERT INTO tool_totals (tool_id, name, category, status, target_node_id,
                             artifacts, bytes, largest, first_at, last_at)
    SELECT tool_id, name, category, status, target_node_id, 0, 0, 0, 0, 0 FROM added;
"""
_POSTGRES_CHANGED = """
    PERFORM FROM tool_totals WHERE tool_id IN (SELECT tool_id FROM added) ORDER BY tool_id FOR UPDATE;
    UPDATE tool_totals s
    SET name = n.name, category = n.category, status = n.status, target_node_id = n.target_node_id
    FROM added n
    WHERE s.tool_id = n.tool_id AND (s.name, s.category, s.status, s.target_node_id)
          IS DISTINCT FROM (n.name, n.category, n.status, n.target_node_id);
"""


def _function(name: str, body: str) -> str:
    return f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n{body}\n    RETURN NULL;\nEND $$"


_POSTGRES_TOOLS = (
    _function("tools_added", _POSTGRES_ADDED),
    _function("tools_changed", _POSTGRES_CHANGED),
    "CREATE TRIGGER tools_added AFTER INSERT ON tools REFERENCING NEW TABLE AS added "
    "FOR EACH STATEMENT EXECUTE FUNCTION tools_added()",
    "CREATE TRIGGER tools_changed AFTER UPDATE ON tools REFERENCING NEW TABLE AS added "
    "FOR EACH STATEMENT EXECUTE FUNCTION tools_changed()",
)
ON_TOOLS = {"sqlite": _SQLITE_TOOLS, "postgresql": _POSTGRES_TOOLS}
TOOL_FUNCTIONS = ("tools_added()", "tools_changed()")  # go after the table, whose triggers need them

# The triggers for the numbers are on the artifacts' table, whose revision makes and drops them. With an
# index on (created_by_tool_id, size_bytes) and one on (created_by_tool_id, created_at) the extremes cost a look-up.
_EXTREMES = """
    largest = coalesce((SELECT max(a.size_bytes) FROM artifacts a WHERE a.created_by_tool_id = @tool), 0),
    first_at = coalesce((SELECT min(a.created_at) FROM artifacts a WHERE a.created_by_tool_id = @tool), 0),
    last_at = coalesce((SELECT max(a.created_at) FROM artifacts a WHERE a.created_by_tool_id = @tool), 0)
"""
_SQLITE_MORE = """
  UPDATE tool_totals SET artifacts = artifacts + 1, bytes = bytes + NEW.size_bytes,
    largest = max(largest, NEW.size_bytes), last_at = max(last_at, NEW.created_at),
    first_at = CASE WHEN artifacts = 0 THEN NEW.created_at ELSE min(first_at, NEW.created_at) END
  WHERE tool_id = NEW.created_by_tool_id;
"""
_SQLITE_LESS = """
  UPDATE tool_totals SET artifacts = artifacts - 1, bytes = bytes - OLD.size_bytes,
  @extremes
  WHERE tool_id = OLD.created_by_tool_id;
""".replace("@extremes", _EXTREMES.replace("@tool", "OLD.created_by_tool_id"))
_COLUMNS = "created_by_tool_id, size_bytes, created_at"
_SQLITE_TRIGGERS = (
    f"CREATE TRIGGER artifacts_added AFTER INSERT ON artifacts WHEN NEW.created_by_tool_id IS NOT NULL BEGIN"
    f"{_SQLITE_MORE}END",
    f"CREATE TRIGGER artifacts_removed AFTER DELETE ON artifacts WHEN OLD.created_by_tool_id IS NOT NULL BEGIN"
    f"{_SQLITE_LESS}END",
    f"CREATE TRIGGER artifacts_changed AFTER UPDATE OF {_COLUMNS} ON artifacts BEGIN{_SQLITE_LESS}{_SQLITE_MORE}END",
)
# For each statement, and in the order of the tools: rows one by one in the order of a statement could deadlock.
_POSTGRES_MORE = """
    UPDATE tool_totals s SET artifacts = s.artifacts + n.artifacts, bytes = s.bytes + n.bytes,
      largest = greatest(s.largest, n.largest), last_at = greatest(s.last_at, n.last_at),
      first_at = CASE WHEN s.artifacts = 0 THEN n.first_at ELSE least(s.first_at, n.first_at) END
    FROM (SELECT created_by_tool_id AS tool_id, count(*) AS artifacts, sum(size_bytes)::bigint AS bytes,
            max(size_bytes) AS largest, min(created_at) AS first_at, max(created_at) AS last_at
          FROM added WHERE created_by_tool_id IS NOT NULL GROUP BY 1) n
    WHERE s.tool_id = n.tool_id;
"""
_POSTGRES_LESS = """
    UPDATE tool_totals s SET artifacts = s.artifacts - n.artifacts, bytes = s.bytes - n.bytes,
    @extremes
    FROM (SELECT created_by_tool_id AS tool_id, count(*) AS artifacts, sum(size_bytes)::bigint AS bytes
          FROM removed WHERE created_by_tool_id IS NOT NULL GROUP BY 1) n
    WHERE s.tool_id = n.tool_id;
""".replace("@extremes", _EXTREMES.replace("@tool", "s.tool_id"))


_LOCK = """
    PERFORM FROM tool_totals WHERE tool_id IN (SELECT created_by_tool_id FROM @rows) ORDER BY tool_id FOR UPDATE;
"""


def _locked(rows: str) -> str:
    """Takes the totals' rows in one order, whatever the update's plan is."""
    return _LOCK.replace("@rows", rows)


_EITHER = "(SELECT created_by_tool_id FROM added UNION SELECT created_by_tool_id FROM removed) both_of_them"
_POSTGRES_TRIGGERS = (
    _function("artifacts_added", _locked("added") + _POSTGRES_MORE),
    _function("artifacts_removed", _locked("removed") + _POSTGRES_LESS),
    _function("artifacts_changed", _locked(_EITHER) + _POSTGRES_LESS + _POSTGRES_MORE),
    "CREATE TRIGGER artifacts_added AFTER INSERT ON artifacts REFERENCING NEW TABLE AS added "
    "FOR EACH STATEMENT EXECUTE FUNCTION artifacts_added()",
    "CREATE TRIGGER artifacts_removed AFTER DELETE ON artifacts REFERENCING OLD TABLE AS removed "
    "FOR EACH STATEMENT EXECUTE FUNCTION artifacts_removed()",
    "CREATE TRIGGER artifacts_changed AFTER UPDATE ON artifacts REFERENCING OLD TABLE AS removed NEW TABLE AS added "
    "FOR EACH STATEMENT EXECUTE FUNCTION artifacts_changed()",
)
_WITH_TOOLS = """
CREATE VIEW artifacts_with_tools AS
SELECT a.artifact_id, a.file_name, a.mime_type, a.storage_pointer, a.size_bytes, a.created_at,
       t.tool_id, t.name AS tool_name, t.category AS tool_category
FROM artifacts a LEFT JOIN tools t ON t.tool_id = a.created_by_tool_id
"""
ON_ARTIFACTS = {
    "sqlite": (*_SQLITE_TRIGGERS, _WITH_TOOLS),
    "postgresql": (*_POSTGRES_TRIGGERS, _WITH_TOOLS),
}
OFF_ARTIFACTS = {
    "sqlite": ("DROP VIEW artifacts_with_tools",),  # the triggers go with the table
    "postgresql": (
        "DROP VIEW artifacts_with_tools",
        *(f"DROP FUNCTION artifacts_{name}() CASCADE" for name in ("added", "removed", "changed")),
    ),
}
