"""One catalogue of the models of all nodes, across engine types.

A model has one row, whatever its nodes call it. `llama3` and `llama3:latest` are one model by rule. An alias whose
target names several models with `|` (`llama3|meta-llama/Llama-3-8B-Instruct`) declares them one model: their rows are
merged under the first name, and each node is asked by its own name. Aliases with several targets are ordered
fallbacks. A catalogue never changes: build a new one when nodes, models or aliases do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.alias import Alias
from orchestrator.domain.errors import ModelNotFound
from orchestrator.domain.model_list import model_row, tag_row
from orchestrator.domain.model_name import LATEST, MAX_LENGTH, key_of
from orchestrator.domain.node import ModelEntry

SAME = "|"
_SUGGESTIONS = 3


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a client's name stands for. `names` are catalogue names, best first: more than one only for an alias.

    `name` is the catalogue's name for it all: the model's, or the alias's when that has several targets.
    """

    name: str
    names: tuple[str, ...]


class Row:
    """One model: its name and what each node that has it calls it and says of it."""

    __slots__ = ("entries", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: dict[str, ModelEntry] = {}

    def add(self, node: str, entry: ModelEntry) -> None:
        """Keeps the first entry of a node. A node's spelling with `:latest` becomes the row's name."""
        self.entries.setdefault(node, entry)
        if entry.name == self.name + LATEST:
            self.name = entry.name


class Catalogue:
    """Look-ups cost one or two dictionary accesses."""

    def __init__(self, rows: Mapping[str, Row], aliases: Mapping[str, Resolved]) -> None:
        """By `key_of` the names. Use `build`."""
        self._rows = rows
        self._aliases = aliases
        self._folded: dict[str, Row | None] = {}
        for key, row in rows.items():
            folded = key.lower()
            self._folded[folded] = row if self._folded.get(folded, row) is row else None
        self._grams: list[tuple[str, frozenset[str]]] | None = None

    @classmethod
    def build(cls, models: Mapping[str, Sequence[ModelEntry]], aliases: Iterable[Alias] = ()) -> Catalogue:
        """From the models of each node, by the node's id, and the aliases. Nodes that are down belong in it: their
        models are unavailable, not unknown."""
        rows: dict[str, Row] = {}
        for node, entries in models.items():
            for entry in entries:
                key = key_of(entry.name)
                row = rows.get(key)
                if row is None:
                    row = rows[key] = Row(entry.name)
                row.add(node, entry)
        given = list(aliases)
        for alias in given:
            for target in alias.targets:
                if SAME in target:
                    _merge(rows, [key_of(name.strip()) for name in target.split(SAME)])
        return cls(rows, _resolve_aliases(rows, given))

    # One model

    def resolve(self, name: str) -> Resolved:
        """What a client's spelling stands for: an alias, a model by its name with or without `:latest`, or, when only
        one model differs from it in nothing but case, that model. Raises ModelNotFound with the nearest names."""
        name = name[:MAX_LENGTH]
        key = key_of(name)
        alias = self._aliases.get(key)
        if alias is not None:
            if not alias.names:
                message = f"model '{name}' not found: no node has a target of this alias"
                raise ModelNotFound(message, details={"model": name})
            return alias
        row = self._row(key)
        if row is None:
            nearest = self.nearest(name)
            hint = f", did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
            raise ModelNotFound(f"model '{name}' not found{hint}", details={"model": name, "suggestions": nearest})
        return Resolved(row.name, (row.name,))

    def entry(self, name: str, node: str) -> ModelEntry | None:
        """What a node says of a model, under the node's own name for it; None when the node does not have it. A model
        comes before an alias of the same name, so that an alias may have itself replaced."""
        row = self._row_on(name, node)
        return row.entries[node] if row is not None else None

    def name_at(self, name: str, node: str) -> str | None:
        """The catalogue's name for what `entry` finds: what breakers and counts of this model on this node go by."""
        row = self._row_on(name, node)
        return row.name if row is not None else None

    def nodes(self, name: str) -> Mapping[str, ModelEntry]:
        """The nodes that have a model, with their entries; `name` is one of `Resolved.names`."""
        row = self._row(key_of(name))
        return row.entries if row is not None else {}

    def size_of(self, name: str) -> int:
        """Bytes, 0 when no node tells: the largest, as builds of one model differ between engines."""
        return max((entry.size for entry in self.nodes(name).values()), default=0)

    def lacks(self, name: str, node: str, capability: str) -> bool:
        """Whether the node itself says that its model cannot do this (completion, embedding, tools, vision, thinking).
        False when it says nothing: names are never guessed from."""
        entry = self.entry(name, node)
        return entry is not None and bool(entry.capabilities) and capability not in entry.capabilities

    def nearest(self, name: str, count: int = _SUGGESTIONS) -> list[str]:
        """Names of models and aliases that share the most letter triples with `name`."""
        if self._grams is None:
            self._grams = [(known, _triples(key_of(known))) for known in self.names()]
        own = _triples(key_of(name[:MAX_LENGTH]))
        scored = [(len(own & grams) / len(own | grams), known) for known, grams in self._grams]
        close = sorted((-score, known) for score, known in scored if score > 0.2)
        return [known for _, known in close[:count]]

    # All models

    def names(self) -> list[str]:
        """Every model and every alias that leads somewhere, sorted."""
        return sorted({row.name for row in self._rows.values()} | {a for a, to in self._aliases.items() if to.names})

    def by_model(self, visible: Callable[[str, str], bool] | None = None) -> dict[str, list[str]]:
        """Model -> its nodes, without aliases."""
        found = {
            row.name: sorted(node for node in row.entries if visible is None or visible(node, row.name))
            for row in self._unique()
        }
        return {model: nodes for model, nodes in found.items() if nodes}

    def by_node(self) -> dict[str, list[str]]:
        """Node -> its models, as the node names them."""
        found: dict[str, set[str]] = {}
        for row in self._unique():
            for node, entry in row.entries.items():
                found.setdefault(node, set()).add(entry.name)
        return {node: sorted(names) for node, names in found.items()}

    def tags(self, visible: Callable[[str, str], bool] | None = None) -> list[dict[str, Any]]:
        """Rows of `/api/tags`: the server's own fields, `servers` added; one row per model and per alias. Only nodes
        for which `visible(node, model)` holds."""
        return [tag_row(name, entries) for name, entries in self._listed(visible)]

    def models(self, visible: Callable[[str, str], bool] | None = None) -> list[dict[str, Any]]:
        """Rows of `/v1/models`: `id`, `object`, `created` (seconds), `owned_by` (a node), the server's own fields."""
        return [model_row(name, entries) for name, entries in self._listed(visible)]

    # Inside

    def _row(self, key: str) -> Row | None:
        return self._rows.get(key) or self._folded.get(key.lower())

    def _row_on(self, name: str, node: str) -> Row | None:
        key = key_of(name)
        row = self._row(key)
        if row is not None and node in row.entries:
            return row
        alias = self._aliases.get(key)
        rows = [self._rows[key_of(target)] for target in alias.names] if alias is not None else []
        return next((row for row in rows if node in row.entries), None)

    def _unique(self) -> list[Row]:
        """Merged rows are found under several keys."""
        return sorted({id(row): row for row in self._rows.values()}.values(), key=lambda row: row.name)

    def _listed(self, visible: Callable[[str, str], bool] | None) -> list[tuple[str, list[tuple[str, ModelEntry]]]]:
        shown: dict[str, list[tuple[str, ModelEntry]]] = {}
        for row in self._unique():
            entries = [(n, e) for n, e in sorted(row.entries.items()) if visible is None or visible(n, row.name)]
            if entries:
                shown[row.name] = entries
        listed = dict(shown)
        for alias, resolved in self._aliases.items():
            first = next((shown[name] for name in resolved.names if name in shown), None)
            if first is not None and alias not in shown and alias + LATEST not in shown:
                listed[alias] = first
        return sorted(listed.items())


def _merge(rows: dict[str, Row], keys: Sequence[str]) -> None:
    """Makes one row of several, under the first name. A node that has more than one of them is asked for the first."""
    present = [rows[key] for key in keys if key in rows]
    if not present:
        return
    merged = Row(present[0].name if keys[0] in rows else keys[0])
    for row in present:
        for node, entry in row.entries.items():
            merged.entries.setdefault(node, entry)
    same = {id(row) for row in present}
    for key in [key for key, row in rows.items() if id(row) in same]:
        rows[key] = merged
    rows.update(dict.fromkeys(keys, merged))


def _resolve_aliases(rows: Mapping[str, Row], aliases: Sequence[Alias]) -> dict[str, Resolved]:
    targets = {key_of(alias.name): alias.targets for alias in aliases}
    resolved: dict[str, Resolved] = {}
    for alias in aliases:
        names = tuple(dict.fromkeys(_expand(key_of(alias.name), targets, rows, ())))
        resolved[key_of(alias.name)] = Resolved(names[0] if len(names) == 1 else alias.name, names)
    return resolved


def _expand(
    alias: str, targets: Mapping[str, Sequence[str]], rows: Mapping[str, Row], seen: tuple[str, ...]
) -> list[str]:
    """The models that an alias leads to, through other aliases where no model has the target's name."""
    found: list[str] = []
    for target in targets[alias]:
        key = key_of(target.split(SAME)[0].strip())
        if key in rows:
            found.append(rows[key].name)
        elif key in targets and key not in seen and key != alias:
            found += _expand(key, targets, rows, (*seen, alias))
    return found


def _triples(name: str) -> frozenset[str]:
    padded = f" {name.lower()} "
    return frozenset(padded[start : start + 3] for start in range(len(padded) - 2)) or frozenset({padded})
