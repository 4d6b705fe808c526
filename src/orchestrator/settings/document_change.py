"""Documents of changed settings, as the database keeps them: what is in them, and what differs between two."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from orchestrator.settings.change import Change
from orchestrator.settings.key import keys
from orchestrator.settings.mask import MASK
from orchestrator.settings.merge import get, has, put
from orchestrator.settings.tree import Settings


def steps(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The keys that two documents set otherwise, secrets masked; None stands for a key that is not set."""
    before, after = masked(old), masked(new)
    return [
        Change(path, _value(before, path), _value(after, path), key.live)
        for path, key in keys().items()
        if _value(old, path) != _value(new, path)
    ]


def masked(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without what secret keys hold."""
    shown = deepcopy(dict(document))
    for path, key in keys().items():
        if key.secret and has(shown, path):
            put(shown, path, MASK)
    return shown


def replacing(settings: Settings, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Changes for `apply` that leave no other entries in the free mappings which `tree` holds: what a backup did not
    have is gone when it is restored."""
    changes = deepcopy(dict(tree))
    for path, key in keys().items():
        if key.is_mapping and has(changes, path) and isinstance(wanted := get(changes, path), Mapping):
            put(changes, path, dict.fromkeys(get(settings, path).keys() - wanted.keys()) | dict(wanted))
    return changes


def _value(tree: Mapping[str, Any], path: str) -> Any:
    return get(tree, path) if has(tree, path) else None
