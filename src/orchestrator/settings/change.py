"""Changing settings while the service runs, and telling what a change means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.settings.dump import dump
from orchestrator.settings.key import keys
from orchestrator.settings.mask import MASK
from orchestrator.settings.merge import get, nested, overlay
from orchestrator.settings.problem import Problem, build, failure
from orchestrator.settings.tree import Settings


@dataclass(frozen=True, slots=True)
class Change:
    """One key that differs. The values are as `dump` shows them, secrets masked."""

    path: str
    old: Any
    new: Any
    live: bool  # False: takes effect after a restart


def apply(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with `changes` laid on top, validated as a whole. Raises ConfigurationError.

    Sections merge, lists and values replace, free mappings merge and a null removes an entry. Names may be dotted.
    Nothing is read from files or the environment. A secret given as its mask keeps its value, so that what `dump`
    shows can be sent back.
    """
    whole = dump(settings, redact=False)
    problems: list[Problem] = []
    try:
        tree = _unmask(overlay(whole, nested(changes)), whole, dump(settings), "", problems)
    except RecursionError:
        raise failure([Problem("", "nested too deep")]) from None
    if problems:
        raise failure(problems)
    return build(tree)


def diff(old: Settings, new: Settings) -> list[Change]:
    """The keys that differ, in the order of the tree."""
    shown_old, shown_new = dump(old), dump(new)
    return [
        Change(path, get(shown_old, path), get(shown_new, path), key.live)
        for path, key in keys().items()
        if get(old, path) != get(new, path)
    ]


def _unmask(new: Any, whole: Any, shown: Any, path: str, problems: list[Problem]) -> Any:
    """`new` with masks replaced by the values in `whole`, whose masked form is `shown`."""
    if isinstance(new, Mapping):
        return {
            name: _unmask(
                value, _inside(whole, name), _inside(shown, name), f"{path}.{name}" if path else name, problems
            )
            for name, value in new.items()
        }
    if isinstance(new, list | tuple):
        return [
            _unmask(item, *_counterpart(item, whole, shown), f"{path}[{index}]", problems)
            for index, item in enumerate(new)
        ]
    if isinstance(new, str) and MASK in new:
        if new == shown:
            return whole
        problems.append(Problem(path, f"{path}: is the mask of a secret, not a secret"))
    return new


def _inside(tree: Any, name: str) -> Any:
    return tree.get(name) if isinstance(tree, Mapping) else None


def _counterpart(item: Any, whole: Any, shown: Any) -> tuple[Any, Any]:
    """The entry of the same id or name in a list as it was."""
    if isinstance(item, Mapping) and isinstance(whole, list):
        for mark in ("id", "name"):
            for old, old_shown in zip(whole, shown, strict=True):
                if mark in item and isinstance(old, Mapping) and old.get(mark) == item[mark]:
                    return old, old_shown
    return None, None
