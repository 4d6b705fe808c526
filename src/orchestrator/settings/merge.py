"""Trees of plain data: reading, writing and laying one over another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.settings.key import keys, sections


def get(tree: Any, path: str) -> Any:
    """The value at a dotted path of models or mappings. Raises KeyError or AttributeError where there is none."""
    for step in path.split("."):
        tree = tree[step] if isinstance(tree, Mapping) else getattr(tree, step)
    return tree


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Sets a dotted path, making the mappings on the way."""
    *way, last = path.split(".")
    for step in way:
        inner = tree.get(step)
        if not isinstance(inner, dict):
            inner = tree[step] = {}
        tree = inner
    tree[last] = value


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes with dotted names at the top (`{"queue.max_size": 5}`) as a tree."""
    tree: dict[str, Any] = {}
    for name, value in changes.items():
        branch: dict[str, Any] = {}
        put(branch, name, value)
        tree = _join(tree, branch)
    return tree


def _join(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(one)
    for name, value in other.items():
        old = result.get(name)
        result[name] = _join(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return result


def overlay(base: Mapping[str, Any], over: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`over` laid on `base`: sections merge, lists and values replace, free mappings merge and None removes an entry.

    A value that is no mapping where a section belongs stays, so that the validation reports it.
    """
    result = dict(base)
    for name, value in over.items():
        path = f"{prefix}{name}"
        old = result.get(name)
        if path in sections():
            if value is None:
                continue
            if isinstance(value, Mapping):
                if old is None or isinstance(old, Mapping):
                    result[name] = overlay(old or {}, value, f"{path}.")
            else:
                result[name] = value
        elif isinstance(value, Mapping) and (key := keys().get(path)) is not None and key.is_mapping:
            kept = old if isinstance(old, Mapping) else {}
            result[name] = {inner: part for inner, part in {**kept, **value}.items() if part is not None}
        else:
            result[name] = value
    return result


def has(tree: Mapping[str, Any], path: str) -> bool:
    """Whether a tree sets the path."""
    node: Any = tree
    for step in path.split("."):
        if not isinstance(node, Mapping) or step not in node:
            return False
        node = node[step]
    return True
