"""An Alias is another name for a model, or for the first available one of several."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Alias:
    """`targets` are model names, best first."""

    name: str
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidRequest("an alias needs a name")
        if not self.targets or not all(self.targets):
            raise InvalidRequest(f"alias {self.name!r} needs at least one target, and no empty one")
        if self.name in self.targets:
            raise InvalidRequest(f"alias {self.name!r} points to itself")
