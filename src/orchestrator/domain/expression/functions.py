"""The functions and methods of expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.expression.values import Budget, ExpressionError, Listed, Number, fits, number

Call = Callable[[Budget, tuple[Any, ...]], Any]


def items(value: Any) -> list[Any]:
    """What iterating over a value gives."""
    if isinstance(value, (str, Mapping, *Listed)):
        return list(value)
    raise ExpressionError(f"{kind(value)} has no items")


def kind(value: Any) -> str:
    """What a value is called in messages."""
    if value is None:
        return "null"
    for types, name in (
        ((bool,), "a truth value"),
        (Number, "a number"),
        ((str,), "a text"),
        ((Mapping,), "an object"),
    ):
        if isinstance(value, types):
            return name
    return "a list"


def _several(budget: Budget, arguments: tuple[Any, ...]) -> list[Any]:
    found = items(arguments[0]) if len(arguments) == 1 else list(arguments)
    budget.weigh(found)
    return found


def _len(budget: Budget, arguments: tuple[Any, ...]) -> int:
    (value,) = arguments
    if not isinstance(value, (str, Mapping, *Listed)):
        raise ExpressionError(f"{kind(value)} has no length")
    return len(value)


def _text(budget: Budget, arguments: tuple[Any, ...]) -> str:
    (value,) = arguments
    fits(budget.weigh(value))
    return str(value)


def _int(budget: Budget, arguments: tuple[Any, ...]) -> int:
    (value,) = arguments
    if not isinstance(value, (str, *Number)):
        raise ExpressionError(f"{kind(value)} is no number")
    if isinstance(value, str):
        budget.letters(value)
    return int(number(int(value)))


def _float(budget: Budget, arguments: tuple[Any, ...]) -> float:
    (value,) = arguments
    if not isinstance(value, (str, *Number)):
        raise ExpressionError(f"{kind(value)} is no number")
    return float(value)


def _round(budget: Budget, arguments: tuple[Any, ...]) -> Any:
    value, digits = (*arguments, None)[:2]
    if not isinstance(value, Number) or not (digits is None or (isinstance(digits, int) and abs(digits) <= 100)):
        raise ExpressionError("round takes a number, and a number of digits up to 100")
    return round(value, digits)


def _sum(budget: Budget, arguments: tuple[Any, ...]) -> Any:
    (values,) = arguments
    found = items(values)
    budget.spend(len(found))
    if not all(isinstance(one, Number) for one in found):
        raise ExpressionError("sum adds numbers")
    total = 0
    for one in found:
        total = number(total + one)
    return total


def _abs(budget: Budget, arguments: tuple[Any, ...]) -> Any:
    (value,) = arguments
    if not isinstance(value, Number):
        raise ExpressionError(f"{kind(value)} is no number")
    return abs(value)


def _truth(test: Callable[[Any], bool]) -> Call:
    def call(budget: Budget, arguments: tuple[Any, ...]) -> bool:
        (values,) = arguments
        found = items(values)
        budget.spend(len(found))
        return test(found)

    return call


def _bool(budget: Budget, arguments: tuple[Any, ...]) -> bool:
    (value,) = arguments
    return bool(value)


def _sorted(budget: Budget, arguments: tuple[Any, ...]) -> list[Any]:
    (values,) = arguments
    found = _several(budget, (values,))
    budget.spend(4 * len(found))
    return sorted(found)


FUNCTIONS: dict[str, tuple[Call, int, int]] = {  # how many arguments: at least, at most
    "len": (_len, 1, 1),
    "str": (_text, 1, 1),
    "int": (_int, 1, 1),
    "float": (_float, 1, 1),
    "bool": (_bool, 1, 1),
    "abs": (_abs, 1, 1),
    "min": (lambda budget, arguments: min(_several(budget, arguments)), 1, 100),
    "max": (lambda budget, arguments: max(_several(budget, arguments)), 1, 100),
    "round": (_round, 1, 2),
    "sorted": (_sorted, 1, 1),
    "sum": (_sum, 1, 1),
    "any": (_truth(any), 1, 1),
    "all": (_truth(all), 1, 1),
}

_TEXT_METHODS = frozenset(
    (
        "startswith",
        "endswith",
        "lower",
        "upper",
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "rsplit",
        "splitlines",
        "replace",
        "find",
        "rfind",
        "index",
        "count",
        "title",
        "capitalize",
        "casefold",
        "isdigit",
        "isalpha",
        "isalnum",
        "isnumeric",
        "isspace",
        "isupper",
        "islower",
        "removeprefix",
        "removesuffix",
        "join",
    )
)
_LIST_METHODS = frozenset(("count", "index", "copy"))
_OBJECT_METHODS = frozenset(("get", "keys", "values", "items", "copy"))


def method(budget: Budget, value: Any, name: str, arguments: tuple[Any, ...]) -> Any:
    """Calls a method of a value."""
    if isinstance(value, str) and name in _TEXT_METHODS:
        return _text_method(budget, value, name, arguments)
    if isinstance(value, Mapping) and name in _OBJECT_METHODS:
        return _object_method(budget, value, name, arguments)
    if isinstance(value, (list, tuple)) and name in _LIST_METHODS:
        budget.weigh(value)
        budget.weigh(arguments)
        return list(value) if name == "copy" else getattr(value, name)(*arguments)
    raise ExpressionError(f"{kind(value)} has no method {name}")


def _text_method(budget: Budget, text: str, name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "join":
        (parts,) = arguments
        found = items(parts)
        fits(budget.weigh(found) + len(text) * len(found))
        return text.join(found)
    budget.weigh(arguments)
    budget.letters(text)
    if name in ("find", "rfind", "index", "count", "split", "rsplit", "replace", "startswith", "endswith"):
        budget.spend(len(text) // LINEAR + 1)
    if name == "replace":
        old, new = arguments[0], arguments[1]
        fits(len(text) + (text.count(old) * len(new)))
    result = getattr(text, name)(*arguments)
    budget.weigh(result)
    return result


LINEAR = 10  # characters of a search that count as one step


def _object_method(budget: Budget, value: Mapping[Any, Any], name: str, arguments: tuple[Any, ...]) -> Any:
    budget.spend(1 if name == "get" else len(value))
    if name == "get":
        key, default = (*arguments, None)[:2]
        return value.get(key, default)
    if name == "copy":
        return dict(value)
    if name == "items":
        return [[key, one] for key, one in value.items()]
    return list(value.keys() if name == "keys" else value.values())
