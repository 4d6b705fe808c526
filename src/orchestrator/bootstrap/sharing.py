"""What replicas tell each other of the gateway, when they have a Redis."""

from __future__ import annotations

import socket
from functools import lru_cache
from urllib.parse import urlsplit

from orchestrator.adapters.redis import RedisCounters
from orchestrator.domain.node import NodeSpec
from orchestrator.ports.store import Storage
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.gateway.sharing import Sharing
from orchestrator.settings import Settings
from orchestrator.settings.url import loopback


def redis_url(settings: Settings) -> str | None:
    """Where replicas speak to each other, if they do. On SQLite there is one process."""
    return settings.redis.url if settings.database_url.startswith("postgres") else None


def build_sharing(settings: Settings, storage: Storage, gateway: Gateway, owner: str) -> Sharing | None:
    """`owner` is what this process is called among the replicas."""
    url = redis_url(settings)
    return Sharing(gateway, RedisCounters(url, storage.instance_id, owner), _named) if url else None


def _named(spec: NodeSpec) -> str:
    return _at(spec.url) or spec.id


@lru_cache(1_000)
def _at(url: str) -> str:
    """Where a server on this machine is: others may call theirs the same."""
    parts = urlsplit(url)
    return f"{socket.gethostname()}:{parts.port}" if loopback(parts.hostname or "") else ""
