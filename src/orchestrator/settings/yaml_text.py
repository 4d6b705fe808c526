"""YAML (and JSON) as plain data with line numbers. Configuration files may come from a hostile hand."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.events import (
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.settings.problem import Problem, failure

MAX_DEPTH = 32
MAX_VALUES = 100_000  # after aliases are expanded, which is what an alias bomb is made of
MERGE = "tag:yaml.org,2002:merge"
TEXT = "tag:yaml.org,2002:str"


class _Refused(Exception):
    def __init__(self, reason: str, line: int) -> None:
        self.reason = reason
        self.line = line


def parse(text: str, name: str) -> tuple[Any, dict[str, int]]:
    """The data and the line of each path in it. `name` is the file's, for messages. Raises ConfigurationError."""
    try:
        _measure(text)
        loader = yaml.CSafeLoader(text)
        try:
            node = loader.get_single_node()
            reader = _Reader(loader)
            return (reader.read(node, "", 0) if node is not None else None), reader.lines
        finally:
            loader.dispose()
    except _Refused as refusal:
        raise failure([Problem("", refusal.reason, where=f"{name}:{refusal.line}")]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise failure([Problem("", f"not valid YAML: {error.problem or error.context}", where=where)]) from None
    except yaml.YAMLError as error:
        raise failure([Problem("", f"not valid YAML: {str(error).splitlines()[0]}", where=name)]) from None


def _measure(text: str) -> None:
    """Refuses what would overflow the composer's stack: it is recursive, and written in C."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _Refused(f"nested deeper than {MAX_DEPTH} levels", _line(event))
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            depth -= 1
        elif isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _Refused("more than one document in the file", _line(event))


def _line(thing: Event | Node) -> int:
    return thing.start_mark.line + 1 if thing.start_mark is not None else 1


class _Reader:
    """Turns nodes into data, counting every value as often as aliases repeat it."""

    def __init__(self, loader: yaml.CSafeLoader) -> None:
        self.lines: dict[str, int] = {}
        self._loader = loader
        self._values = 0

    def read(self, node: Node, path: str, depth: int) -> Any:
        line = _line(node)
        self._values += 1
        if self._values > MAX_VALUES:
            raise _Refused(f"more than {MAX_VALUES} values once aliases are expanded", line)
        if depth > MAX_DEPTH:
            raise _Refused(f"nested deeper than {MAX_DEPTH} levels once aliases are expanded", line)
        self.lines.setdefault(path, line)
        if isinstance(node, MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, SequenceNode):
            return [self.read(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except ValueError as error:
            raise _Refused(f"not a valid value: {error}", line) from None

    def _mapping(self, node: MappingNode, path: str, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if key_node.tag == MERGE:
                merged = {**self._merge(value_node, path, depth), **merged}
                continue
            key = self._key(key_node, line)
            if key in own:
                raise _Refused(f"the key '{key}' stands here twice", line)
            inner = f"{path}.{key}" if path else key
            self.lines[inner] = line
            own[key] = self.read(value_node, inner, depth + 1)
        return {**merged, **own}

    def _merge(self, node: Node, path: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for part in node.value if isinstance(node, SequenceNode) else [node]:
            value = self.read(part, path, depth + 1)
            if not isinstance(value, dict):
                raise _Refused("'<<' takes a mapping", _line(part))
            found = {**value, **found}
        return found

    @staticmethod
    def _key(node: Node, line: int) -> str:
        if not isinstance(node, ScalarNode):
            raise _Refused("a key must be a plain text", line)
        if node.tag != TEXT:
            raise _Refused(f"the key {node.value} is not a text for YAML: put it in quotes", line)
        return str(node.value)
