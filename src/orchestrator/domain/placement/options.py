"""Settings of the placement policies, under the names of the fleet contract's `loadBalancer` section (2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from orchestrator.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Weights:
    """Shares of the `weighted` score; they need not add up to 1."""

    latency: float = 0.2
    success_rate: float = 0.2
    load: float = 0.2
    capacity: float = 0.05
    circuit_breaker: float = 0.15
    timeout: float = 0.05
    throughput: float = 0.1
    vram: float = 0.05


@dataclass(frozen=True, slots=True)
class Thresholds:
    max_p95_latency: float = 5000.0  # ms
    min_success_rate: float = 0.95
    latency_penalty: float = 0.5
    error_penalty: float = 0.3


@dataclass(frozen=True, slots=True)
class Streaming:
    ttft_weight: float = 0.6
    duration_weight: float = 0.4


@dataclass(frozen=True, slots=True)
class RoundRobinOptions:
    sticky_sessions_ttl_ms: float = 0.0  # 0: sessions do not stick


@dataclass(frozen=True, slots=True)
class LeastConnectionsOptions:
    consider_capacity: bool = True
    consider_failure_rate: bool = True
    failure_rate_penalty: float = 2.0


@dataclass(frozen=True, slots=True)
class PrefixOptions:
    balance: float = 1.25  # a node takes at most this times the mean of the model's requests in flight
    sticky_load: int = 4  # or this many more than the mean, where that is more
    entries: int = 50_000  # remembered prefix blocks


@dataclass(frozen=True, slots=True)
class WarmOptions:
    wait: bool = True  # wait for a warm node where a load would take longer than the wait
    load_cost_ms: float = 0.0  # cost of an unmeasured load; 0: estimated from the model's size


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """All of them. Times are milliseconds, as in the contract."""

    weights: Weights = field(default_factory=Weights)
    thresholds: Thresholds = field(default_factory=Thresholds)
    latency_blend_recent: float = 0.6
    latency_blend_historical: float = 0.4
    load_factor_multiplier: float = 0.5
    default_latency_ms: float = 1000.0
    failure_cost_ms: float = 10_000.0  # what a certain failure costs in the policies that compare times
    streaming: Streaming = field(default_factory=Streaming)
    round_robin: RoundRobinOptions = field(default_factory=RoundRobinOptions)
    least_connections: LeastConnectionsOptions = field(default_factory=LeastConnectionsOptions)
    prefix_affinity: PrefixOptions = field(default_factory=PrefixOptions)
    warm_first: WarmOptions = field(default_factory=WarmOptions)

    @classmethod
    def parse(cls, section: Mapping[str, Any]) -> PolicyOptions:
        """Read a `loadBalancer` mapping with camelCase or snake_case names. Keys of other features are passed over.

        Raises ConfigurationError for a value that is not a number (or not a boolean), or is negative.
        """
        parsed: PolicyOptions = _fill(cls(), section, "loadBalancer")
        return parsed


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _fill(default: Any, section: Mapping[str, Any], path: str) -> Any:
    known = {item.name: getattr(default, item.name) for item in fields(default)}
    changes: dict[str, Any] = {}
    for key, value in section.items():
        name = _snake(str(key))
        if name not in known:
            continue
        changes[name] = _read(known[name], value, f"{path}.{key}")
    return replace(default, **changes)


def _read(current: Any, value: Any, path: str) -> Any:
    if isinstance(current, bool):
        if not isinstance(value, bool):
            raise ConfigurationError(f"{path} must be true or false")
        return value
    if isinstance(current, (int, float)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise ConfigurationError(f"{path} must be a number of at least 0")
        return type(current)(value)
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{path} must be a section")
    return _fill(current, value, path)
