"""Options of the placement policies. Names and defaults are the fleet contract's (2.2); times are seconds here."""

from __future__ import annotations

from orchestrator.domain.node import MAX_CONCURRENCY_RANGE
from orchestrator.settings.section import Duration, Section, setting

_LEAST, _MOST = MAX_CONCURRENCY_RANGE


def _weight(default: float, what: str) -> float:
    weight: float = setting(default, f"Weight of {what}.", live=True, ge=0, le=100)
    return weight


class Weights(Section):
    """The eight shares of the `weighted` policy; they need not add up to 1."""

    latency: float = _weight(0.2, "a short latency")
    success_rate: float = _weight(0.2, "past success")
    load: float = _weight(0.2, "a low load of the whole node")
    capacity: float = _weight(0.05, "free places")
    circuit_breaker: float = _weight(0.15, "a healthy breaker")
    timeout: float = _weight(0.05, "a short timeout")
    throughput: float = _weight(0.1, "tokens per second")
    vram: float = _weight(0.05, "the model being in memory already")


class Thresholds(Section):
    """Where the `weighted` policy begins to punish."""

    max_p95_latency: Duration = setting(
        5.0, "p95 latency beyond which a node is punished, in seconds.", live=True, gt=0
    )
    min_success_rate: float = setting(0.95, "Success rate below which a node is punished.", live=True, ge=0, le=1)
    latency_penalty: float = setting(0.5, "Factor on the latency score of a slow node.", live=True, ge=0, le=1)
    error_penalty: float = setting(0.3, "Factor on the success score of a failing node.", live=True, ge=0, le=1)


class StreamWeights(Section):
    """How much of a stream's speed is its start."""

    ttft_weight: float = setting(0.6, "Weight of the time to the first token.", live=True, ge=0, le=100)
    duration_weight: float = setting(0.4, "Weight of the whole duration.", live=True, ge=0, le=100)


class RoundRobin(Section):
    """Options of `round_robin` and `weighted_round_robin`."""

    sticky_sessions_ttl: Duration = setting(
        0.0, "How long a session keeps its node, in seconds; 0: never.", live=True, ge=0
    )


class LeastConnections(Section):
    """Options of `least_connections`."""

    consider_capacity: bool = setting(True, "Whether load is measured against a node's capacity.", live=True)
    consider_failure_rate: bool = setting(True, "Whether failures make a node look busier.", live=True)
    failure_rate_penalty: float = setting(2.0, "How much busier.", live=True, ge=0, le=100)


class PrefixAffinity(Section):
    """Options of `prefix_affinity`."""

    balance: float = setting(
        1.25, "A node takes at most this times the mean of the model's requests in flight.", live=True, ge=1, le=100
    )
    sticky_load: int = setting(4, "Or this many more than the mean, where that is more.", live=True, ge=0, le=1000)
    entries: int = setting(50_000, "Prefix blocks remembered.", live=True, ge=0, le=10_000_000)


class WarmFirst(Section):
    """Options of `warm_first`."""

    wait: bool = setting(
        True, "Whether to wait for a warm node where a load would take longer than the wait.", live=True
    )
    load_cost: Duration = setting(
        0.0,
        "Time a load not measured yet is taken to cost, in seconds; 0: estimated from the model's size.",
        live=True,
        ge=0,
    )


class LoadBalancer(Section):
    """Options of the placement policies."""

    weights: Weights = setting(description="Weights of the `weighted` policy.", factory=Weights)
    thresholds: Thresholds = setting(description="Thresholds of the `weighted` policy.", factory=Thresholds)
    latency_blend_recent: float = setting(0.6, "Weight of the last latency in an estimate.", live=True, ge=0, le=1)
    latency_blend_historical: float = setting(0.4, "Weight of the p95 latency in it.", live=True, ge=0, le=1)
    load_factor_multiplier: float = setting(
        0.5, "How much a full node's latency is raised in `fastest_response`.", live=True, ge=0, le=100
    )
    default_latency: Duration = setting(1.0, "Latency assumed of an unmeasured node, in seconds.", live=True, gt=0)
    failure_cost: Duration = setting(
        10.0, "What a certain failure costs in the policies that compare times, in seconds.", live=True, ge=0
    )
    default_max_concurrency: int = setting(
        4, "Requests at a time on a node that sets no limit of its own.", live=True, ge=_LEAST, le=_MOST
    )
    streaming: StreamWeights = setting(description="Speed of streams.", factory=StreamWeights)
    round_robin: RoundRobin = setting(description="Options of `round_robin`.", factory=RoundRobin)
    least_connections: LeastConnections = setting(
        description="Options of `least_connections`.", factory=LeastConnections
    )
    prefix_affinity: PrefixAffinity = setting(description="Options of `prefix_affinity`.", factory=PrefixAffinity)
    warm_first: WarmFirst = setting(description="Options of `warm_first`.", factory=WarmFirst)
