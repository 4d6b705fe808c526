"""What came out of an import: our tree, and what became of each setting of the other gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import yaml

from orchestrator.domain.errors import ConfigurationError
from orchestrator.domain.node import NODE_ID
from orchestrator.settings.exposure import check_exposure
from orchestrator.settings.merge import put
from orchestrator.settings.problem import build
from orchestrator.settings.secret import expand
from orchestrator.settings.tree import Settings

_ROUNDS = 100  # refused values that are left out, one after the other
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class Outcome(StrEnum):
    MAPPED = "mapped"
    INERT = "inert"  # it did nothing there, or needs no setting here
    NO_EQUIVALENT = "no equivalent"
    REFUSED = "refused"  # a value that does not do here
    ATTENTION = "attention"  # something for the operator to do


@dataclass(frozen=True, slots=True)
class Finding:
    """`source` is the key there, `path` ours; `note` says why, or what to do. Never holds a secret."""

    outcome: Outcome
    source: str
    path: str = ""
    note: str = ""


class AnyEnvironment(Mapping[str, str]):
    """Stands for the environment of the service, which is not known here: every variable has a value, a URL."""

    def __getitem__(self, name: str) -> str:
        return f"http://{re.sub('[^a-z0-9]', '-', name.lower()).strip('-') or 'x'}.invalid"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(slots=True)
class Imported:
    """`tree` is ours, as a file would have it; references to secrets are not resolved."""

    tree: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def set(self, source: str, path: str, value: Any, note: str = "") -> None:
        put(self.tree, path, value)
        self.findings.append(Finding(Outcome.MAPPED, source, path, note))

    def tell(self, outcome: Outcome, source: str, note: str, path: str = "") -> None:
        self.findings.append(Finding(outcome, source, path, note))

    def settle(self) -> Settings:
        """Takes out what our validation refuses, and says so; returns the settings of what is left."""
        for _ in range(_ROUNDS):
            try:
                settings = build(expand(self.tree, AnyEnvironment(), lambda path: "", []))
            except ConfigurationError as error:
                for problem in error.details["problems"]:
                    _remove(self.tree, problem["path"])
                    self.tell(Outcome.REFUSED, problem["path"], f"left out: {problem['reason']}", problem["path"])
            else:
                self._exposure(settings)
                return settings
        raise ConfigurationError("Too much of the file does not do here.")

    @property
    def warnings(self) -> list[str]:
        """What an operator who loads the file as it is should know."""
        return [
            f"{one.source} has no effect: {one.note}" if one.outcome is Outcome.INERT else f"{one.source}: {one.note}"
            for one in self.findings
            if one.outcome is not Outcome.MAPPED
        ]

    def text(self) -> str:
        """The tree as YAML."""
        return yaml.safe_dump(self.tree, sort_keys=False, allow_unicode=True) if self.tree else "{}\n"

    def _exposure(self, settings: Settings) -> None:
        try:
            check_exposure(settings)
        except ConfigurationError as error:
            for problem in error.details["problems"]:
                self.tell(Outcome.ATTENTION, problem["path"], str(problem["suggestion"]), problem["path"])


def _remove(tree: dict[str, Any], path: str) -> None:
    """Takes a path out of the tree; of a list the whole entry."""
    steps: list[str | int] = [int(found[2]) if found[2] else found[1] for found in _STEP.finditer(path)]
    node: Any = tree
    for index, step in enumerate(steps):
        entry = isinstance(node, list) and isinstance(step, int)
        if (
            entry
            or index == len(steps) - 1
            or not isinstance(node, dict)
            or not isinstance(node.get(str(step)), dict | list)
        ):
            if isinstance(node, list) and isinstance(step, int) and step < len(node):
                del node[step]
            elif isinstance(node, dict):
                node.pop(str(step), None)
            return
        node = node[step]
    tree.clear()


def secret(text: str) -> str:
    """A secret as a file writes it: a reference stays one, `${` in a text is one no more."""
    return text.replace("${", "$${")


def node_id(text: str, taken: set[str]) -> str:
    """A name of a node made of `text`, different from those taken, to which it is added."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:90] or "node"
    name = name if NODE_ID.match(name) else "node"
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    taken.add(found)
    return found


def items(value: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a mapping; none of anything else."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield str(name), inner
