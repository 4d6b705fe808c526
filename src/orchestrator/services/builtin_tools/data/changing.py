"""Changes of tables, one after the other: the operations of `transform`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.expression import parsed
from orchestrator.services.builtin_tools.data import criteria, grouping
from orchestrator.services.builtin_tools.data.dates import FUNCTIONS, iso, iso_day, read_moment
from orchestrator.services.builtin_tools.data.table import Row, Rows, key_of, known, names
from orchestrator.services.builtin_tools.data.table import parsed as parsed_text

Operation = Mapping[str, Any]
KEEP = ("first", "last", "none")


def changed(rows: Rows, operations: list[Any]) -> tuple[Rows, list[dict[str, Any]]]:
    """The table after all operations, and what each did to the number of rows. Raises InvalidRequest."""
    done: list[dict[str, Any]] = []
    for number, operation in enumerate(operations, 1):
        kind = operation.get("type") if isinstance(operation, Mapping) else None
        if kind not in OPERATIONS:
            raise InvalidRequest(f"operation {number}: type is one of {', '.join(OPERATIONS)}")
        before = len(rows)
        try:
            rows = OPERATIONS[kind](rows, operation)
        except InvalidRequest as error:
            raise InvalidRequest(f"operation {number} ({kind}): {error.message}") from None
        done.append({"type": kind, "rows_before": before, "rows_after": len(rows)})
    return rows, done


def specified(data: Any, spec: Mapping[str, str], form: str | None) -> dict[str, Any]:
    """One object of values computed from the whole data: `data` as it was given, `parsed_data` as it was read."""
    read = parsed_text(data, form) if isinstance(data, str) else data
    functions = {**FUNCTIONS, "json.loads": _loads}
    return {name: parsed(text).value({"data": data, "parsed_data": read}, functions) for name, text in spec.items()}


def _loads(text: Any) -> Any:
    if not isinstance(text, str):
        raise TypeError("json.loads takes a text")
    return json.loads(text)


def deduplicated(rows: Rows, columns: list[str], keep: str = "first") -> Rows:
    """Without rows that are the same in these columns; without columns: in all."""
    if keep not in KEEP:
        raise InvalidRequest(f"keep: one of {', '.join(KEEP)}")
    known(columns, rows, "columns")
    places: dict[Any, list[int]] = {}
    for place, row in enumerate(rows):
        key = tuple(key_of(row.get(name)) for name in columns) if columns else key_of(row)
        places.setdefault(key, []).append(place)
    if keep == "none":
        kept = [found[0] for found in places.values() if len(found) == 1]
    else:
        kept = sorted(found[0 if keep == "first" else -1] for found in places.values())
    return [rows[place] for place in kept]


def _filter(rows: Rows, asked: Operation) -> Rows:
    wanted = asked.get("condition", asked.get("criteria", asked.get("expression")))
    return criteria.matching(rows, asked if wanted is None and "field" in asked else wanted)


def _aggregate(rows: Rows, asked: Operation) -> Rows:
    group_by = names(asked.get("group_by", []), "group_by")
    wanted = asked.get("aggregations")
    if wanted is None and isinstance(asked.get("field"), str):
        wanted = {asked["field"]: str(asked.get("operation", asked.get("function", "sum")))}
    return grouping.aggregated(rows, group_by, wanted)


def _rename(rows: Rows, asked: Operation) -> Rows:
    mapping = _texts(asked.get("mapping", asked.get("fields", asked.get("columns"))), "mapping")
    known(mapping, rows, "mapping")
    found = [{mapping.get(name, name): value for name, value in row.items()} for row in rows]
    if any(len(new) != len(old) for new, old in zip(found, rows, strict=True)):
        raise InvalidRequest("mapping: two fields would have the same name")
    return found


def _add(rows: Rows, asked: Operation) -> Rows:
    name = asked.get("field", asked.get("name"))
    if not isinstance(name, str):
        raise InvalidRequest("field: the name of the new field")
    if isinstance(asked.get("expression"), str):
        return criteria.computed(rows, {name: asked["expression"]})
    return [{**row, name: asked.get("value")} for row in rows]


def _calculate(rows: Rows, asked: Operation) -> Rows:
    expressions = asked.get("expressions")
    if expressions is None and "field" in asked:
        expressions = {str(asked["field"]): asked.get("expression")}
    return criteria.computed(rows, _texts(expressions, "expressions"))


def _deduplicate(rows: Rows, asked: Operation) -> Rows:
    columns = names(asked.get("columns", asked.get("fields", [])), "columns")
    return deduplicated(rows, columns, str(asked.get("keep", "first")))


def _cast(rows: Rows, asked: Operation) -> Rows:
    types = asked.get("columns", asked.get("fields"))
    if isinstance(asked.get("field"), str):
        types = {asked["field"]: asked.get("to", asked.get("to_type"))}
    types = _texts(types, "columns")
    known(types, rows, "columns")
    for name, kind in types.items():
        if kind.lower() not in CASTS:
            raise InvalidRequest(f"columns.{name}: one of {', '.join(CASTS)}")
    lenient = asked.get("on_error", "fail") == "null"
    return [
        {
            name: _cast_one(value, types[name], name, number, lenient) if name in types else value
            for name, value in row.items()
        }
        for number, row in enumerate(rows, 1)
    ]


def _cast_one(value: Any, kind: str, name: str, number: int, lenient: bool) -> Any:
    if value is None:
        return None
    try:
        return CASTS[kind.lower()](value)
    except (TypeError, ValueError, OverflowError) as error:
        if lenient:
            return None
        raise InvalidRequest(f"row {number:,}, {name}: {error}") from None


def _fill(rows: Rows, asked: Operation) -> Rows:
    strategy = asked.get("strategy", asked.get("values"))
    if not isinstance(strategy, Mapping):
        columns = names(asked.get("columns", asked.get("field", [])), "columns")
        strategy = dict.fromkeys(columns, asked.get("value"))
    if not strategy:
        raise InvalidRequest("strategy: an object {column: value}")
    return [{**row, **{name: value for name, value in strategy.items() if row.get(name) is None}} for row in rows]


def _select(rows: Rows, asked: Operation) -> Rows:
    wanted = known(names(asked.get("columns", asked.get("fields", [])), "columns"), rows, "columns")
    return [{name: row.get(name) for name in wanted} for row in rows]


def _drop(rows: Rows, asked: Operation) -> Rows:
    left_out = set(names(asked.get("columns", asked.get("fields", [])), "columns"))
    return [{name: value for name, value in row.items() if name not in left_out} for row in rows]


def _sort(rows: Rows, asked: Operation) -> Rows:
    by = known(names(asked.get("by", asked.get("columns", asked.get("field", []))), "by"), rows, "by")
    down = bool(asked.get("descending", False))

    def place(row: Row) -> list[tuple[bool, Any]]:  # nulls come last, whichever way
        return [((row.get(name) is None) is not down, 0 if row.get(name) is None else row[name]) for name in by]

    try:
        return sorted(rows, key=place, reverse=down)
    except TypeError as error:
        raise InvalidRequest(f"by: {error}") from None


def _limit(rows: Rows, asked: Operation) -> Rows:
    count = asked.get("count", asked.get("limit"))
    if not isinstance(count, int) or count < 0:
        raise InvalidRequest("count: a number of rows")
    return rows[:count]


def _texts(value: Any, field: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not value or not all(isinstance(one, str) for one in value.values()):
        raise InvalidRequest(f"{field}: an object of texts")
    return dict(value)


OPERATIONS: dict[str, Callable[[Rows, Operation], Rows]] = {
    "filter": _filter,
    "aggregate": _aggregate,
    "rename_fields": _rename,
    "add_field": _add,
    "deduplicate": _deduplicate,
    "cast": _cast,
    "fill_missing": _fill,
    "calculate": _calculate,
    "select_fields": _select,
    "drop_fields": _drop,
    "sort": _sort,
    "limit": _limit,
}


def _integer(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} is not a whole number")
    return int(value.strip() if isinstance(value, str) else value)


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "yes", "y", "1", "on"):
            return True
        if word in ("false", "no", "n", "0", "off"):
            return False
    elif value in (0, 1):
        return bool(value)
    raise ValueError(f"{str(value)[:50]!r} is neither true nor false")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> float:
    found = float(value)
    if found != found or found in (float("inf"), float("-inf")):
        raise ValueError(f"{str(value)[:50]!r} is not a finite number")
    return found


CASTS: dict[str, Callable[[Any], Any]] = {
    "integer": _integer,
    "int": _integer,
    "float": _number,
    "number": _number,
    "string": _text,
    "str": _text,
    "text": _text,
    "boolean": _truth,
    "bool": _truth,
    "datetime": lambda value: iso(read_moment(str(value))),
    "date": lambda value: iso_day(read_moment(str(value))),
}
