"""Which rows fit: an expression, or conditions on fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.expression import Expression, ExpressionError, parsed
from orchestrator.services.builtin_tools.data.dates import FUNCTIONS
from orchestrator.services.builtin_tools.data.table import Row, Rows, columns_of, key_of

Test = Callable[[Row], bool]
_ALIASES = {
    "=": "eq", "==": "eq", "equals": "eq", "!=": "ne", "not_equals": "ne", "<>": "ne", ">": "gt", ">=": "gte",
    "ge": "gte", "<": "lt", "<=": "lte", "le": "lte", "nin": "not_in", "exists": "not_null", "greater_than": "gt",
    "less_than": "lt",
}  # fmt: skip


def matching(rows: Rows, criteria: Any) -> Rows:
    """The rows that fit. Raises InvalidRequest, with the number of the row where a row is the reason."""
    if isinstance(criteria, str):
        expression, names = parsed(criteria), _Names(rows)
        return [row for number, row in enumerate(rows, 1) if bool(names.value(expression, row, number))]
    test = _test(criteria)
    found = []
    for number, row in enumerate(rows, 1):
        try:
            if test(row):
                found.append(row)
        except TypeError as error:
            raise InvalidRequest(f"row {number:,}: {error}") from None
    return found


class _Names:
    """Rows as the names of expressions: every column of the table is one, and `row` has them all."""

    def __init__(self, rows: Rows) -> None:
        self._empty = dict.fromkeys(columns_of(rows))

    def value(self, expression: Expression, row: Row, number: int) -> Any:
        full = {**self._empty, **row}
        try:
            return expression.value({"row": full, **full}, FUNCTIONS)
        except ExpressionError as error:
            raise InvalidRequest(f"row {number:,}: {error.message}") from None


def computed(rows: Rows, expressions: Mapping[str, str]) -> Rows:
    """The rows with more fields. A later expression sees the fields of those before it."""
    compiled = {name: parsed(text) for name, text in expressions.items()}
    names, found = _Names(rows), []
    for number, row in enumerate(rows, 1):
        row = dict(row)
        for name, expression in compiled.items():
            value = names.value(expression, row, number)
            row[name] = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        found.append(row)
    return found


def _test(criteria: Any) -> Test:
    if isinstance(criteria, list):
        tests = [_test(one) for one in criteria]
        return lambda row: all(test(row) for test in tests)
    if not isinstance(criteria, Mapping):
        raise InvalidRequest("criteria: an expression, an object, or a list of them")
    if set(criteria) & {"and", "or", "not"}:
        return _combined(criteria)
    if "field" in criteria:
        operator = str(criteria.get("operator", criteria.get("op", "eq")))
        return _condition(str(criteria["field"]), operator, criteria.get("value"))
    tests = [
        _condition(str(field), operator, value)
        for field, wanted in criteria.items()
        for operator, value in (wanted.items() if isinstance(wanted, Mapping) else (("eq", wanted),))
    ]
    return lambda row: all(test(row) for test in tests)


def _combined(criteria: Mapping[str, Any]) -> Test:
    if len(criteria) != 1:
        raise InvalidRequest("criteria: and, or, not stand alone")
    ((word, inner),) = criteria.items()
    if word == "not":
        test = _test(inner)
        return lambda row: not test(row)
    if not isinstance(inner, list):
        raise InvalidRequest(f"criteria.{word}: a list")
    tests = [_test(one) for one in inner]
    every = word == "and"
    return lambda row: (all if every else any)(test(row) for test in tests)


def _condition(field: str, operator: str, wanted: Any) -> Test:
    word = operator.removeprefix("$").lower()
    word = _ALIASES.get(word, word)
    if word not in _OPERATORS:
        raise InvalidRequest(f"criteria: unknown operator {operator[:50]!r}; one of {', '.join(_OPERATORS)}")
    if word in ("in", "not_in", "between") and not isinstance(wanted, list):
        raise InvalidRequest(f"criteria: {word} takes a list")
    if word == "between" and len(wanted) != 2:
        raise InvalidRequest("criteria: between takes the lowest and the highest value")
    if word == "in" or word == "not_in":
        keys = {key_of(one) for one in wanted}
        return lambda row: (key_of(row.get(field)) in keys) is (word == "in")
    test = _OPERATORS[word]
    return lambda row: test(row.get(field), wanted)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, wanted: value is not None and compare(value, wanted)


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, list):
        return key_of(wanted) in {key_of(one) for one in value}
    return isinstance(value, str) and str(wanted) in value


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, wanted: bool(key_of(value) == key_of(wanted)),
    "ne": lambda value, wanted: bool(key_of(value) != key_of(wanted)),
    "gt": _ordered(lambda value, wanted: value > wanted),
    "gte": _ordered(lambda value, wanted: value >= wanted),
    "lt": _ordered(lambda value, wanted: value < wanted),
    "lte": _ordered(lambda value, wanted: value <= wanted),
    "between": _ordered(lambda value, wanted: wanted[0] <= value <= wanted[1]),
    "in": _contains,  # made from the list in `_condition`
    "not_in": _contains,
    "contains": _contains,
    "not_contains": lambda value, wanted: not _contains(value, wanted),
    "startswith": lambda value, wanted: isinstance(value, str) and value.startswith(str(wanted)),
    "endswith": lambda value, wanted: isinstance(value, str) and value.endswith(str(wanted)),
    "is_null": lambda value, wanted: (value is None) is (wanted is not False),
    "not_null": lambda value, wanted: (value is not None) is (wanted is not False),
}
