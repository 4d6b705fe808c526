"""A model that the server offers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

GIGABYTE = 1_000_000_000
ALL_CAPABILITIES = ("completion", "tools", "thinking", "vision", "embedding")


@dataclass(frozen=True, slots=True)
class Model:
    """`size` is in bytes, on disk and in memory alike; `name` may lack a tag, then Ollama's routes add `:latest`."""

    name: str
    size: int = 4 * GIGABYTE
    family: str = "llama"
    parameter_size: str = "8.0B"
    quantization: str = "Q4_K_M"
    context_length: int = 8192
    capabilities: tuple[str, ...] = ALL_CAPABILITIES

    @property
    def tagged(self) -> str:
        """The name as Ollama lists it."""
        return tagged(self.name)

    @property
    def digest(self) -> str:
        """64 hex digits that depend on the name only."""
        return hashlib.sha256(self.name.encode()).hexdigest()


def tagged(name: str) -> str:
    """`name` with Ollama's default tag: the tag is looked for after the last slash (`host:5000/name`)."""
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
