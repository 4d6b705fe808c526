"""The fleet contract's names of our keys (contract 2.2), with its units: a table, and the two translations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.settings.mask import mask
from orchestrator.settings.merge import get, put
from orchestrator.settings.problem import Problem, closest, failure
from orchestrator.settings.tree import Settings

SECTIONS = (
    "loadBalancer",
    "circuitBreaker",
    "security",
    "metrics",
    "streaming",
    "queue",
    "healthCheck",
    "tags",
    "retry",
    "cooldown",
)


@dataclass(frozen=True, slots=True)
class LegacyKey:
    """Where a legacy key lives in our tree. legacy value = our value * `factor` + `offset`."""

    path: str
    factor: float = 1.0
    offset: int = 0

    def ours(self, value: Any) -> Any:
        """Our value of a legacy one; what is no number goes on to the validation as it is."""
        if (self.factor == 1.0 and not self.offset) or isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return (value - self.offset) / self.factor if self.factor != 1.0 else value - self.offset

    def legacy(self, value: Any) -> Any:
        """The legacy value of ours. Whole numbers stay whole, as a predecessor's client expects."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        result = value * self.factor + self.offset
        return int(result) if float(result).is_integer() and (self.factor != 1.0 or isinstance(value, int)) else result


def _same(path: str) -> LegacyKey:
    return LegacyKey(path)


def _ms(path: str) -> LegacyKey:
    return LegacyKey(path, factor=1000.0)


ROOT: Mapping[str, LegacyKey] = {
    "port": _same("server.port"),
    "host": _same("server.host"),
    "logLevel": _same("logging.level"),
    "enableQueue": _same("queue.enabled"),
    "enableCircuitBreaker": _same("circuit_breaker.enabled"),
    "enableMetrics": _same("metrics.enabled"),
    "enableAuth": _same("auth.enabled"),
    "persistencePath": _same("data_dir"),
}

KEYS: Mapping[str, LegacyKey] = {
    "queue.enabled": _same("queue.enabled"),
    "queue.maxSize": _same("queue.max_size"),
    "queue.timeout": _ms("queue.timeout"),
    "queue.priorityBoostInterval": _ms("queue.priority_boost_interval"),
    "queue.priorityBoostAmount": _same("queue.priority_boost_amount"),
    "queue.maxPriority": _same("queue.max_priority"),
    "loadBalancer.weights.latency": _same("load_balancer.weights.latency"),
    "loadBalancer.weights.successRate": _same("load_balancer.weights.success_rate"),
    "loadBalancer.weights.load": _same("load_balancer.weights.load"),
    "loadBalancer.weights.capacity": _same("load_balancer.weights.capacity"),
    "loadBalancer.weights.circuitBreaker": _same("load_balancer.weights.circuit_breaker"),
    "loadBalancer.weights.timeout": _same("load_balancer.weights.timeout"),
    "loadBalancer.weights.throughput": _same("load_balancer.weights.throughput"),
    "loadBalancer.weights.vram": _same("load_balancer.weights.vram"),
    "loadBalancer.thresholds.maxP95Latency": _ms("load_balancer.thresholds.max_p95_latency"),
    "loadBalancer.thresholds.minSuccessRate": _same("load_balancer.thresholds.min_success_rate"),
    "loadBalancer.thresholds.latencyPenalty": _same("load_balancer.thresholds.latency_penalty"),
    "loadBalancer.thresholds.errorPenalty": _same("load_balancer.thresholds.error_penalty"),
    "loadBalancer.latencyBlendRecent": _same("load_balancer.latency_blend_recent"),
    "loadBalancer.latencyBlendHistorical": _same("load_balancer.latency_blend_historical"),
    "loadBalancer.loadFactorMultiplier": _same("load_balancer.load_factor_multiplier"),
    "loadBalancer.defaultLatencyMs": _ms("load_balancer.default_latency"),
    "loadBalancer.failureCostMs": _ms("load_balancer.failure_cost"),
    "loadBalancer.defaultMaxConcurrency": _same("load_balancer.default_max_concurrency"),
    "loadBalancer.streaming.ttftWeight": _same("load_balancer.streaming.ttft_weight"),
    "loadBalancer.streaming.durationWeight": _same("load_balancer.streaming.duration_weight"),
    "loadBalancer.roundRobin.stickySessionsTtlMs": _ms("load_balancer.round_robin.sticky_sessions_ttl"),
    "loadBalancer.leastConnections.considerCapacity": _same("load_balancer.least_connections.consider_capacity"),
    "loadBalancer.leastConnections.considerFailureRate": _same("load_balancer.least_connections.consider_failure_rate"),
    "loadBalancer.leastConnections.failureRatePenalty": _same("load_balancer.least_connections.failure_rate_penalty"),
    "loadBalancer.prefixAffinity.balance": _same("load_balancer.prefix_affinity.balance"),
    "loadBalancer.prefixAffinity.stickyLoad": _same("load_balancer.prefix_affinity.sticky_load"),
    "loadBalancer.prefixAffinity.entries": _same("load_balancer.prefix_affinity.entries"),
    "loadBalancer.warmFirst.wait": _same("load_balancer.warm_first.wait"),
    "loadBalancer.warmFirst.loadCostMs": _ms("load_balancer.warm_first.load_cost"),
    "circuitBreaker.baseFailureThreshold": _same("circuit_breaker.base_failure_threshold"),
    "circuitBreaker.maxFailureThreshold": _same("circuit_breaker.max_failure_threshold"),
    "circuitBreaker.minFailureThreshold": _same("circuit_breaker.min_failure_threshold"),
    "circuitBreaker.openTimeout": _ms("circuit_breaker.open_time"),
    "circuitBreaker.halfOpenTimeout": _ms("circuit_breaker.half_open_time"),
    "circuitBreaker.halfOpenMaxRequests": _same("circuit_breaker.half_open_max_requests"),
    "circuitBreaker.recoverySuccessThreshold": _same("circuit_breaker.recovery_success_threshold"),
    "recoveryTest.serverCooldownMs": _ms("circuit_breaker.recovery_test_interval"),
    "recoveryTest.modelTestTimeoutMs": _ms("circuit_breaker.recovery_test_timeout"),
    "circuitBreaker.errorRateWindow": _ms("circuit_breaker.error_rate_window"),
    "circuitBreaker.errorRateThreshold": _same("circuit_breaker.error_rate_threshold"),
    "circuitBreaker.adaptiveThresholds": _same("circuit_breaker.adaptive_thresholds"),
    "circuitBreaker.adaptiveThresholdAdjustment": _same("circuit_breaker.threshold_adjustment"),
    "circuitBreaker.backoff.rateLimitMaxMs": _ms("circuit_breaker.max_retry_after"),
    "security.corsOrigins": _same("server.cors_origins"),
    "security.rateLimitWindowMs": _ms("security.rate_limit_window"),
    "security.rateLimitMax": _same("security.rate_limit_max"),
    "security.apiKeyHeader": _same("auth.header"),
    "metrics.enabled": _same("metrics.enabled"),
    "streaming.timeoutMs": _ms("gateway.timeout"),
    "streaming.stallThresholdMs": _ms("streaming.stall_threshold"),
    "streaming.maxHandoffAttempts": _same("streaming.max_continuations"),
    "healthCheck.enabled": _same("health_check.enabled"),
    "healthCheck.intervalMs": _ms("health_check.interval"),
    "healthCheck.timeoutMs": _ms("health_check.timeout"),
    "healthCheck.maxConcurrentChecks": _same("health_check.concurrency"),
    "healthCheck.recoveryIntervalMs": _ms("health_check.recovery_interval"),
    "healthCheck.failureThreshold": _same("health_check.failure_threshold"),
    "healthCheck.successThreshold": _same("health_check.success_threshold"),
    "retry.maxRetriesPerServer": LegacyKey("retry.max_attempts", offset=-1),
    "retry.retryDelayMs": _ms("retry.backoff_base"),
    "retry.backoffMultiplier": _same("retry.backoff_multiplier"),
    "retry.maxRetryDelayMs": _ms("retry.backoff_max"),
    "cooldown.defaultMaxConcurrency": _same("load_balancer.default_max_concurrency"),
}

# Keys that clients of the predecessor send and that change nothing here, each with the reason. Most did nothing there.
INERT: Mapping[str, str] = {
    "userAgent": "requests to nodes carry the orchestrator's own name",
    "enableStreaming": "streaming is always on",
    "enablePersistence": "state is always kept in the database",
    "configReloadIntervalMs": "a change takes effect at once",
    "servers": "nodes are added and removed by their own routes",
    "loadBalancer.thresholds.circuitBreakerPenalty": "the breaker has a weight of its own",
    "loadBalancer.streaming": "streams are measured by time to first token and duration",
    "loadBalancer.roundRobin": "unhealthy and full nodes are always skipped",
    "loadBalancer.leastConnections.skipUnhealthy": "unhealthy nodes are always skipped",
    "loadBalancer.crossModelInference": "models are measured one by one",
    "circuitBreaker.activeTestTimeout": "a breaker recovers by real requests",
    "circuitBreaker.errorRateSmoothing": "the error rate is exact over its window",
    "circuitBreaker.nonRetryableRatioThreshold": "each failure is classified by itself",
    "circuitBreaker.transientRatioThreshold": "each failure is classified by itself",
    "circuitBreaker.errorPatterns": "failures are told apart by status and kind, not by their text",
    "circuitBreaker.modelEscalation": "node and model breakers are fed separately",
    "circuitBreaker.backoff": "open times double from openTimeout up to circuit_breaker.open_max",
    "security.apiKeys": "keys are managed by their own routes",
    "security.adminApiKeys": "keys are managed by their own routes",
    "metrics.prometheusEnabled": "metrics.enabled decides",
    "metrics.prometheusPort": "/metrics is served on the main port",
    "metrics.historyWindowMinutes": "history.capacity decides",
    "metrics.decay": "estimates are moving averages",
    "streaming.enabled": "streaming is always on",
    "streaming.maxConcurrentStreams": "each node's max_concurrency decides",
    "streaming.bufferSize": "chunks are relayed as they come",
    "streaming.activityTimeoutMs": "stallThresholdMs decides",
    "streaming.stallCheckIntervalMs": "stalls are looked for all the time",
    "streaming.ttftWeight": "loadBalancer.streaming.ttftWeight decides",
    "streaming.durationWeight": "loadBalancer.streaming.durationWeight decides",
    "healthCheck.retryAttempts": "failureThreshold decides",
    "healthCheck.retryDelayMs": "recoveryIntervalMs decides",
    "healthCheck.backoffMultiplier": "recoveryIntervalMs decides",
    "tags": "the list of models comes from the last probe: healthCheck decides",
    "retry.retryableStatusCodes": "every 5xx and 429 goes to another node",
    "cooldown.failureCooldownMs": "rests and breakers grow with each failure",
    "recoveryTest.maxWaitForInFlightMs": "a test goes to a server that has room",
    "recoveryTest.tagsTestTimeoutMs": "healthCheck.timeoutMs decides",
    "modelManager": "loads are measured, not configured",
    "storage": "see database and history",
}

_TAGS = {
    "cacheTtlMs": _ms("health_check.interval"),
    "maxConcurrentRequests": _same("health_check.concurrency"),
    "requestTimeoutMs": _ms("health_check.timeout"),
}


def legacy_view(settings: Settings) -> dict[str, Any]:
    """The settings as the fleet contract's config API shows them: camelCase, milliseconds, secrets masked."""
    view: dict[str, Any] = {name: key.legacy(get(settings, key.path)) for name, key in ROOT.items()}
    view["logLevel"] = "warn" if settings.logging.level == "warning" else settings.logging.level
    view["persistencePath"] = str(settings.data_dir)
    view["enableStreaming"] = view["enablePersistence"] = True
    view["servers"] = [
        {
            "id": node.id,
            "url": node.url,
            "type": node.kind.value,
            "maxConcurrency": node.max_concurrency or settings.load_balancer.default_max_concurrency,
            **({"apiKey": mask(node.api_key.get_secret_value())} if node.api_key is not None else {}),
        }
        for node in settings.nodes
    ]
    for name, key in KEYS.items():
        value = key.legacy(get(settings, key.path))
        put(view, name, list(value) if isinstance(value, tuple) else value)
    view["tags"] = {name: key.legacy(get(settings, key.path)) for name, key in _TAGS.items()}
    view["metrics"]["prometheusEnabled"] = settings.metrics.enabled
    return view


def from_legacy(section: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Our changes, for `apply`, of a PATCH of one legacy section. Keys that change nothing here are passed over.

    Raises ConfigurationError: unknown section or key, with what was probably meant.
    """
    if section not in SECTIONS:
        meant = closest(section, SECTIONS)
        raise failure([Problem(section, f"unknown section '{section}'", f"did you mean '{meant}'?" if meant else "")])
    return _translate({f"{section}.{name}": value for name, value in changes.items()})


def from_legacy_tree(tree: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Our changes, for `apply`, of a whole or partial legacy configuration, as `legacy_view` gives it.

    Only what differs from `settings` counts: the view shows some of our keys twice, and one of the two was edited.
    """
    return _translate(tree, legacy_view(settings))


def inert_keys(section: str, changes: Mapping[str, Any]) -> dict[str, str]:
    """The keys of a legacy change that have no effect here, each with the reason. An empty `section`: the root."""
    given = flat({section: changes} if section else changes)
    return {name: reason for name in given if name not in KEYS and name not in ROOT and (reason := inert_reason(name))}


def _translate(changes: Mapping[str, Any], current: Mapping[str, Any] | None = None) -> dict[str, Any]:
    try:
        given = flat(changes)
    except RecursionError:
        raise failure([Problem("", "nested too deep")]) from None
    known = flat(current or {})
    ours: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in given.items():
        key = KEYS.get(name) or ROOT.get(name)
        if name in known and known[name] == value:
            continue
        if key is not None:
            put(ours, key.path, key.ours(value))
        elif not inert_reason(name):
            meant = closest(name, (*KEYS, *ROOT), cutoff=0.75)
            problems.append(Problem(name, f"unknown key '{name}'", f"did you mean '{meant}'?" if meant else ""))
    if problems:
        raise failure(problems)
    return ours


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A legacy tree as dotted names; what stands for one key, or changes nothing, is not taken apart."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        _flatten(name, value, found)
    return found


def _flatten(name: str, value: Any, flat: dict[str, Any]) -> None:
    if isinstance(value, Mapping) and name not in KEYS and not (name in INERT and not _has_keys(name)):
        for inner, part in value.items():
            _flatten(f"{name}.{inner}", part, flat)
    else:
        flat[name] = value


def _has_keys(name: str) -> bool:
    return any(known.startswith(f"{name}.") for known in KEYS)


def inert_reason(name: str) -> str:
    """The reason why a key, or the group around it, has no effect; empty for an unknown key."""
    while name:
        if name in INERT:
            return INERT[name]
        name = name.rpartition(".")[0]
    return ""
