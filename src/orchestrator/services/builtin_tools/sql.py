"""Databases of the operator's: `sql` reads, `sql-write` changes those that may be changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.tool import SideEffect, Tool, ToolStatus
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.queries import Answer, Query, QueryDatabase
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    TEXT,
    Schema,
    choice,
    described,
    fields,
    offered,
    results,
)

SETTING = "tools.databases"
TIMEOUT = 60.0
MOST_ROWS = 10_000
_STATEMENT = described(
    TEXT,
    "query: one SQL statement. Values belong into parameters: ? or :name in SQLite, $1, $2, ... in PostgreSQL.",
    minLength=1,
    maxLength=100_000,
)
_COMMON: dict[str, Schema] = {
    "database": described(TEXT, "Name of the database; may be left out when there is only one."),
    "parameters": {"type": ["array", "object"], "description": "Values for the places of the statement."},
    "max_rows": {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_ROWS,
        "default": 1_000,
        "description": "Rows that come back at most.",
    },
    "timeout": {"type": "number", "exclusiveMinimum": 0, "maximum": 600, "default": 30, "description": "In seconds."},
}
_OUTPUT = results(
    {
        "database": TEXT,
        "columns": {"type": "array", "items": TEXT},
        "rows": {"type": "array", "items": {"type": "object"}},
        "row_count": COUNT,
        "truncated": FLAG,
        "changed": {"type": ["integer", "null"]},
    },
    ("database", "columns", "rows", "row_count", "truncated"),
)


class _Databases:
    """What both tools do."""

    def __init__(self, databases: Mapping[str, QueryDatabase], tool: Tool, hint: str) -> None:
        self._databases = databases
        self._hint = hint
        names = ", ".join(f"{name} ({one.kind})" for name, one in databases.items())
        words = f"{tool.description} Databases: {names}." if names else f"{hint} {tool.description}"
        self.tool = replace(tool, description=words, status=ToolStatus.ENABLED if names else ToolStatus.DISABLED)

    def _database(self, given: Mapping[str, Any]) -> tuple[str, QueryDatabase]:
        if not self._databases:
            raise Conflict(self._hint, details={"setting": SETTING})
        name = given.get("database", next(iter(self._databases)) if len(self._databases) == 1 else None)
        if name not in self._databases:
            raise InvalidRequest(f"database: one of {', '.join(self._databases)}", details={"field": "database"})
        return name, self._databases[name]

    @staticmethod
    def _shown(name: str, answer: Answer) -> CallOutcome:
        """Rows as objects; where two columns have one name, the later ones get a number."""
        columns = distinct(answer.columns)
        return CallOutcome(
            {
                "database": name,
                "columns": columns,
                "rows": [dict(zip(columns, row, strict=True)) for row in answer.rows],
                "row_count": len(answer.rows),
                "truncated": answer.truncated,
                "changed": answer.changed,
            }
        )


class Sql(_Databases):
    """`BuiltinTool`."""

    def __init__(self, databases: Mapping[str, QueryDatabase]) -> None:
        tool = offered(
            "sql",
            "data",
            "Reads databases with SQL. Actions: query (one statement that reads), tables (what there is), describe "
            "(columns of a table).",
            SideEffect.READ,
            fields(
                {
                    "action": choice(("query", "tables", "describe"), "What to do.", default="query"),
                    "query": _STATEMENT,
                    "table": described(TEXT, "describe: its name."),
                    **_COMMON,
                }
            ),
            _OUTPUT,
            TIMEOUT,
        )
        super().__init__(databases, tool, f"sql is off: the operator has named no databases ({SETTING}).")

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        name, database = self._database(given)
        action = given.get("action", "query")
        if action == "tables":
            return self._shown(name, await database.ask(_query(given, database.catalogue.tables, ())))
        if action == "describe":
            found = await database.ask(_query(given, database.catalogue.columns, (_needed(given, "table"),)))
            if not found.rows:
                raise InvalidRequest(f"table: there is no '{given['table']}'", details={"field": "table"})
            return self._shown(name, found)
        return self._shown(
            name, await database.ask(_query(given, _needed(given, "query"), given.get("parameters", ())))
        )


class SqlWrite(_Databases):
    """`BuiltinTool`. `databases` are those that may be changed."""

    def __init__(self, databases: Mapping[str, QueryDatabase]) -> None:
        tool = offered(
            "sql-write",
            "data",
            "Changes databases with one SQL statement, in a transaction of its own.",
            SideEffect.WRITE,
            fields({"query": _STATEMENT, **_COMMON}, ("query",)),
            _OUTPUT,
            TIMEOUT,
        )
        super().__init__(databases, tool, f"sql-write is off: no database is writable ({SETTING}.NAME.writable).")

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        name, database = self._database(given)
        query = replace(_query(given, given["query"], given.get("parameters", ())), writing=True)
        return self._shown(name, await database.ask(query))


def _needed(given: Mapping[str, Any], field: str) -> str:
    if field not in given:
        raise InvalidRequest(f"{field}: is needed", details={"field": field})
    return str(given[field])


def _query(given: Mapping[str, Any], statement: str, parameters: Any) -> Query:
    if "\0" in statement or statement.encode("utf-8", "ignore").decode() != statement:
        raise InvalidRequest("query: has a character that is none", details={"field": "query"})
    return Query(statement, parameters, given.get("max_rows", 1_000), timeout=float(given.get("timeout", 30)))


def distinct(names: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for name in names:
        free, number = name, 2
        while free in found:
            free, number = f"{name}_{number}", number + 1
        found.append(free)
    return found
