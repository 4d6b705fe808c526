"""What is wrong with a configuration, all of it at once, with what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings.key import is_secret, keys, siblings
from orchestrator.settings.tree import Settings

_SHOWN = 60  # characters of a wrong value that a message repeats
# Only these repeat the value: others may have met a whole section, or a URL with a password in it.
_REPEATED = (
    *("literal_error", "enum", "int_parsing", "int_type", "int_from_float", "float_parsing", "float_type"),
    *("bool_parsing", "bool_type", "finite_number"),
    *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
)
_QUOTED = re.compile(r"'([^']+)'")

Locate = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` as in `nodes[0].url`; `where` is a file and line, a variable, or empty."""

    path: str
    reason: str
    suggestion: str = ""
    where: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.reason}" if self.where else self.reason
        return f"{text}: {self.suggestion}" if self.suggestion else text


def failure(problems: Iterable[Problem]) -> ConfigurationError:
    """One error that tells all problems; `details["problems"]` has them as data."""
    found = list(problems)
    lines = [str(problem) for problem in found]
    text = (
        lines[0]
        if len(lines) == 1
        else f"{len(lines)} problems in the configuration:" + "".join(f"\n  - {line}" for line in lines)
    )
    return ConfigurationError(
        text,
        details={
            "problems": [
                {"path": one.path, "reason": one.reason, "suggestion": one.suggestion, "where": one.where}
                for one in found
            ]
        },
    )


def build(data: Mapping[str, Any], locate: Locate = lambda path: "") -> Settings:
    """The tree of `data`. Raises ConfigurationError with every problem; `locate` tells where a path was set."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        found = [_problem(one, locate) for one in error.errors(include_url=False)]
    raise failure(found)


def render(path: Sequence[str | int]) -> str:
    """`("nodes", 0, "url")` as `nodes[0].url`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def unknown_key(path: Sequence[str | int], where: str = "") -> Problem:
    """The problem of a key that does not exist."""
    text = render(path)
    meant = _meant(path)
    suggestion = f"did you mean '{meant}'?" if meant else ""
    if not meant and (names := siblings(path)):
        suggestion = f"known here: {', '.join(names)}"
    return Problem(text, f"unknown key '{text}'", suggestion, where)


def closest(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str:
    """The candidate that `name` is probably a misspelling of, or an empty text."""
    by_form = {_form(candidate): candidate for candidate in candidates}
    found = get_close_matches(_form(name), list(by_form), n=1, cutoff=cutoff)
    return by_form[found[0]] if found else ""


def snake(name: str) -> str:
    """`maxSize` as `max_size`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _form(name: str) -> str:
    return snake(name).replace("-", "_")


def _meant(path: Sequence[str | int]) -> str:
    last = str(path[-1])
    name = closest(last, siblings(path))
    if name:
        return render((*path[:-1], name))
    if any(isinstance(step, int) for step in path):
        return ""
    same = [known for known in keys() if known.rpartition(".")[2] == _form(last)]
    if len(same) == 1:
        return same[0]
    return closest(render(path), keys(), cutoff=0.75)


def _problem(error: Any, locate: Locate) -> Problem:
    path: tuple[str | int, ...] = tuple(error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown_key(path, locate(render(path)))
    if path and path[-1] == "[key]":
        path = path[:-1]
    text = render(path)
    reason = _reason(error)
    suggestion = ""
    given = error.get("input")
    if error["type"] in _REPEATED and isinstance(given, str | int | float) and not is_secret(path):
        if error["type"] in ("literal_error", "enum"):
            meant = closest(str(given), _QUOTED.findall(str(error["ctx"]["expected"])))
            suggestion = f"did you mean '{meant}'?" if meant else ""
        shown = repr(given)
        reason += f" (it is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'})"
    return Problem(text, f"{text}: {reason}" if text else reason, suggestion, locate(text))


def _reason(error: Any) -> str:
    if error["type"] == "missing":
        return "has to be given"
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "must be a mapping"
    if error["type"] == "tuple_type":
        return "must be a list"
    message = str(error["msg"]).removeprefix("Value error, ")
    return re.sub(r"^Input should ", "must ", message)
