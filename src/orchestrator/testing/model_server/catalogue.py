"""The models on the server's disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from orchestrator.testing.model_server.model import Model, tagged


class Catalogue:
    """Models by tagged name, in the order they were added, and the blobs that were uploaded."""

    def __init__(self, models: Iterable[Model | str]) -> None:
        self._models: dict[str, Model] = {}
        self.blobs: dict[str, int] = {}
        self.replace(models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    @property
    def names(self) -> list[str]:
        """Names as they were given."""
        return [model.name for model in self]

    def find(self, name: str) -> Model | None:
        """The model called `name`, with or without `:latest`."""
        return self._models.get(name) or self._models.get(tagged(name))

    def replace(self, models: Iterable[Model | str]) -> None:
        """Offer exactly `models`."""
        self._models = {}
        for model in models:
            self.add(model)

    def add(self, model: Model | str) -> Model:
        """Offer one more model; one of the same name is replaced."""
        added = Model(model) if isinstance(model, str) else model
        self._models[added.tagged] = added
        return added

    def copy(self, source: Model, name: str) -> Model:
        """Offer `source` under another name too."""
        return self.add(replace(source, name=name))

    def remove(self, model: Model) -> None:
        """Offer `model` no longer."""
        self._models.pop(model.tagged, None)
