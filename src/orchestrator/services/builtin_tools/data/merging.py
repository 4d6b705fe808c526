"""Several tables made one."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.services.builtin_tools.data.table import MAX_ROWS, Row, Rows, columns_of, key_of, known

STRATEGIES = ("combine", "join", "concat")
JOINS = ("inner", "left", "right", "outer")


def merged(tables: list[Rows], strategy: str, on: list[str], kind: str) -> Rows:
    """`concat` puts the rows one after the other; `join` pairs rows with equal keys, as SQL does; `combine` makes one
    row of those at the same place, or with the same key, the first value that is not null wins."""
    if len(tables) < 2:
        raise InvalidRequest("datasets: at least two")
    if strategy == "concat":
        columns = columns_of(row for table in tables for row in table)
        return [{name: row.get(name) for name in columns} for table in tables for row in table]
    if strategy == "combine":
        return _combined(tables, on)
    if strategy != "join" or kind not in JOINS:
        raise InvalidRequest(f"merge_strategy: {', '.join(STRATEGIES)}; join_type: {', '.join(JOINS)}")
    if not on:
        raise InvalidRequest("join_on: the columns whose values must be equal")
    found = tables[0]
    for number, table in enumerate(tables[1:], 2):
        found = _joined(found, table, on, kind, f"_{number}")
    return found


def _key(row: Row, on: list[str]) -> Any:
    return tuple(key_of(row.get(name)) for name in on)


def _joined(left: Rows, right: Rows, on: list[str], kind: str, suffix: str) -> Rows:
    known(on, left, "join_on")
    known(on, right, "join_on")
    left_columns = columns_of(left) or on
    taken = set(left_columns)
    renamed = _free_names(columns_of(right), on, taken, suffix)
    no_left: Row = dict.fromkeys(left_columns)
    no_right: Row = dict.fromkeys(renamed.values())
    by_key: dict[Any, list[int]] = {}
    for place, row in enumerate(right):
        if None not in (key := _key(row, on)):
            by_key.setdefault(key, []).append(place)
    found: Rows = []
    matched: set[int] = set()
    if sum(len(by_key.get(_key(row, on), ())) for row in left) > MAX_ROWS:
        raise InvalidRequest(f"the join has more than {MAX_ROWS:,} rows")
    for row in left:
        places = by_key.get(_key(row, on), [])
        matched.update(places)
        found += [{**no_left, **row, **no_right, **_renamed(right[place], renamed)} for place in places]
        if not places and kind in ("left", "outer"):
            found.append({**no_left, **row, **no_right})
    if kind in ("right", "outer"):
        for place, row in enumerate(right):
            if place not in matched:
                found.append({**no_left, **{name: row.get(name) for name in on}, **no_right, **_renamed(row, renamed)})
    return found


def _free_names(columns: list[str], on: list[str], taken: set[str], suffix: str) -> dict[str, str]:
    """The names of the right table's columns in the result; one that the left table has gets the suffix."""
    found: dict[str, str] = {}
    for name in columns:
        if name not in on:
            new = name
            while new in taken:
                new += suffix
            taken.add(new)
            found[name] = new
    return found


def _renamed(row: Row, names: dict[str, str]) -> Row:
    return {new: row.get(old) for old, new in names.items()}


def _combined(tables: list[Rows], on: list[str]) -> Rows:
    columns = columns_of(row for table in tables for row in table)
    found: dict[Any, Row] = {}
    key: tuple[str, Any]
    for number, table in enumerate(tables):
        known(on, table, "join_on")
        for place, row in enumerate(table):
            key = ("key", _key(row, on)) if on else ("place", place)
            if on and None in _key(row, on):
                key = ("alone", (number, place))  # a row without a key is like no other
            whole = found.setdefault(key, dict.fromkeys(columns))
            for name, value in row.items():
                if whole[name] is None:
                    whole[name] = value
    return list(found.values())
