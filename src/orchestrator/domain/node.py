"""A Node is everything that works. Here: model servers, as an operator registers them and as probes see them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class NodeKind(StrEnum):
    """What software answers at a node's URL."""

    OLLAMA = "ollama"
    OPENAI = "openai"  # vLLM, LM Studio, llama.cpp's server, hosted providers
    ANTHROPIC = "anthropic"
    LLAMACPP = "llamacpp"  # the embedded engine, run by this service
    DEMO = "demo"  # answers canned text, so that a first start has something to talk to


class Dialect(StrEnum):
    """A wire language of inference."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    OLLAMA = "ollama"


class NodeSource(StrEnum):
    """Who registered a node. Only nodes from `API` and `CLI` calls outlive their configuration."""

    CONFIG = "config"
    API = "api"
    DISCOVERY = "discovery"
    EMBEDDED = "embedded"
    DEMO = "demo"


class AdminState(StrEnum):
    """What an operator wants of a node."""

    ACTIVE = "active"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"


NODE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
MAX_CONCURRENCY_RANGE = (1, 1000)


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node as registered. `api_key` is a literal secret or a reference `env:NAME`, resolved at use."""

    id: str
    url: str  # normalised: scheme://host[:port][/base], no trailing slash
    kind: NodeKind
    max_concurrency: int = 4
    api_key: str | None = field(default=None, repr=False)
    weight: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()  # served models where the server has no list of its own
    source: NodeSource = NodeSource.API
    admin_state: AdminState = AdminState.ACTIVE
    admin_reason: str = ""
    admin_since: float = 0.0  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model that a node can serve. `raw` is the server's own list entry, relayed in merged lists."""

    name: str
    digest: str = ""
    size: int = 0  # bytes, 0 when unknown
    modified_at: str = ""
    capabilities: frozenset[str] = frozenset()  # completion, embedding, tools, vision, thinking; empty = unknown
    raw: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model held in a node's memory now."""

    name: str
    size: int = 0  # bytes
    size_vram: int = 0  # bytes
    expires_at: str = ""  # RFC 3339, empty when it does not expire
    raw: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What one probe learned. A probe never loads a model."""

    healthy: bool
    latency_ms: float
    error: str = ""
    version: str = ""
    dialects: frozenset[Dialect] = frozenset()
    models: tuple[ModelEntry, ...] = ()
    loaded: tuple[LoadedModel, ...] | None = None  # None: the server does not tell
