"""Environment variables of the fleet contract (2.3) that set keys of ours: name, key, and how the text is read. The
registry contract's DATABASE_URL is one of them, too."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.settings.legacy import INERT, KEYS, ROOT


@dataclass(frozen=True, slots=True)
class Alias:
    """A variable. `legacy` is the contract's key that it sets; where there is none, `read` reads the text."""

    name: str
    path: str
    legacy: str = ""
    read: Callable[[str], Any] | None = None

    def value(self, text: str) -> Any:
        """The value for `path`. Raises ValueError with the reason."""
        if self.read is not None:
            return self.read(text)
        key = KEYS.get(self.legacy) or ROOT[self.legacy]
        if key.factor == 1.0 and not key.offset:
            return text
        try:
            return key.ours(json.loads(text))
        except ValueError:
            unit = "milliseconds" if key.factor != 1.0 else "times"
            raise ValueError(f"must be a number of {unit}") from None


def _truth(text: str) -> bool:
    if text.strip().lower() in ("true", "1", "yes", "on"):
        return True
    if text.strip().lower() in ("false", "0", "no", "off"):
        return False
    raise ValueError("must be true or false")


def _debug(text: str) -> str | None:
    return "debug" if text.strip().lower() == "true" else None


def _log_file(text: str) -> str:
    return f"{text.rstrip('/')}/orchestrator.log"


def _no_file(text: str) -> str | None:
    return "" if _truth(text) else None


_SECTIONED: Mapping[str, str] = {
    # Later lines win over earlier ones.
    "PORT": "port",
    "LOG_LEVEL": "logLevel",
    "ENABLE_AUTH": "enableAuth",
    "ORCHESTRATOR_PORT": "port",
    "ORCHESTRATOR_HOST": "host",
    "ORCHESTRATOR_LOG_LEVEL": "logLevel",
    "ORCHESTRATOR_PERSISTENCE_PATH": "persistencePath",
    "ORCHESTRATOR_ENABLE_AUTH": "enableAuth",
    "ORCHESTRATOR_ENABLE_QUEUE": "enableQueue",
    "ORCHESTRATOR_ENABLE_CIRCUIT_BREAKER": "enableCircuitBreaker",
    "ORCHESTRATOR_ENABLE_METRICS": "enableMetrics",
    "ORCHESTRATOR_QUEUE_MAX_SIZE": "queue.maxSize",
    "ORCHESTRATOR_QUEUE_TIMEOUT": "queue.timeout",
    "ORCHESTRATOR_QUEUE_PRIORITY_BOOST_INTERVAL": "queue.priorityBoostInterval",
    "ORCHESTRATOR_QUEUE_PRIORITY_BOOST_AMOUNT": "queue.priorityBoostAmount",
    "ORCHESTRATOR_QUEUE_MAX_PRIORITY": "queue.maxPriority",
    "ORCHESTRATOR_LB_WEIGHT_LATENCY": "loadBalancer.weights.latency",
    "ORCHESTRATOR_LB_WEIGHT_SUCCESS_RATE": "loadBalancer.weights.successRate",
    "ORCHESTRATOR_LB_WEIGHT_LOAD": "loadBalancer.weights.load",
    "ORCHESTRATOR_LB_WEIGHT_CAPACITY": "loadBalancer.weights.capacity",
    "ORCHESTRATOR_LB_MAX_P95_LATENCY": "loadBalancer.thresholds.maxP95Latency",
    "ORCHESTRATOR_LB_MIN_SUCCESS_RATE": "loadBalancer.thresholds.minSuccessRate",
    "ORCHESTRATOR_LB_LATENCY_PENALTY": "loadBalancer.thresholds.latencyPenalty",
    "ORCHESTRATOR_LB_ERROR_PENALTY": "loadBalancer.thresholds.errorPenalty",
    "ORCHESTRATOR_CB_FAILURE_THRESHOLD": "circuitBreaker.baseFailureThreshold",
    "ORCHESTRATOR_CB_MAX_FAILURE_THRESHOLD": "circuitBreaker.maxFailureThreshold",
    "ORCHESTRATOR_CB_MIN_FAILURE_THRESHOLD": "circuitBreaker.minFailureThreshold",
    "ORCHESTRATOR_CB_OPEN_TIMEOUT": "circuitBreaker.openTimeout",
    "ORCHESTRATOR_CB_HALF_OPEN_TIMEOUT": "circuitBreaker.halfOpenTimeout",
    "ORCHESTRATOR_CB_HALF_OPEN_MAX_REQUESTS": "circuitBreaker.halfOpenMaxRequests",
    "ORCHESTRATOR_CB_RECOVERY_SUCCESS_THRESHOLD": "circuitBreaker.recoverySuccessThreshold",
    "ORCHESTRATOR_CB_ERROR_RATE_WINDOW": "circuitBreaker.errorRateWindow",
    "ORCHESTRATOR_CB_ERROR_RATE_THRESHOLD": "circuitBreaker.errorRateThreshold",
    "ORCHESTRATOR_CB_ADAPTIVE_THRESHOLDS": "circuitBreaker.adaptiveThresholds",
    "ORCHESTRATOR_CORS_ORIGINS": "security.corsOrigins",
    "ORCHESTRATOR_RATE_LIMIT_WINDOW": "security.rateLimitWindowMs",
    "ORCHESTRATOR_RATE_LIMIT_MAX": "security.rateLimitMax",
    "ORCHESTRATOR_API_KEY_HEADER": "security.apiKeyHeader",
    "ORCHESTRATOR_METRICS_PROMETHEUS_ENABLED": "metrics.enabled",
    "ORCHESTRATOR_METRICS_ENABLED": "metrics.enabled",
    "ORCHESTRATOR_STREAMING_TIMEOUT": "streaming.timeoutMs",
    "ORCHESTRATOR_STREAMING_TIMEOUT_MS": "streaming.timeoutMs",
    "ORCHESTRATOR_STREAMING_STALL_THRESHOLD_MS": "streaming.stallThresholdMs",
    "ORCHESTRATOR_STREAMING_MAX_HANDOFF_ATTEMPTS": "streaming.maxHandoffAttempts",
    "ORCHESTRATOR_STREAMING_TTFT_WEIGHT": "loadBalancer.streaming.ttftWeight",
    "ORCHESTRATOR_STREAMING_DURATION_WEIGHT": "loadBalancer.streaming.durationWeight",
    "ORCHESTRATOR_HEALTH_CHECK_ENABLED": "healthCheck.enabled",
    "ORCHESTRATOR_HEALTH_CHECK_INTERVAL_MS": "healthCheck.intervalMs",
    "ORCHESTRATOR_HEALTH_CHECK_TIMEOUT_MS": "healthCheck.timeoutMs",
    "ORCHESTRATOR_HEALTH_CHECK_MAX_CONCURRENT": "healthCheck.maxConcurrentChecks",
    "ORCHESTRATOR_HC_ENABLED": "healthCheck.enabled",
    "ORCHESTRATOR_HC_INTERVAL": "healthCheck.intervalMs",
    "ORCHESTRATOR_HC_TIMEOUT": "healthCheck.timeoutMs",
    "ORCHESTRATOR_HC_MAX_CONCURRENT": "healthCheck.maxConcurrentChecks",
    "ORCHESTRATOR_HC_RECOVERY_INTERVAL": "healthCheck.recoveryIntervalMs",
    "ORCHESTRATOR_HC_FAILURE_THRESHOLD": "healthCheck.failureThreshold",
    "ORCHESTRATOR_HC_SUCCESS_THRESHOLD": "healthCheck.successThreshold",
    "ORCHESTRATOR_RETRY_MAX_RETRIES": "retry.maxRetriesPerServer",
    "ORCHESTRATOR_RETRY_DELAY": "retry.retryDelayMs",
    "ORCHESTRATOR_RETRY_BACKOFF_MULTIPLIER": "retry.backoffMultiplier",
    "ORCHESTRATOR_RETRY_MAX_DELAY": "retry.maxRetryDelayMs",
}

_OWN = (
    Alias("DEBUG", "logging.level", read=_debug),
    Alias("MAX_LOG_ENTRIES", "logging.keep", read=str),
    Alias("LOG_DIR", "logging.file", read=_log_file),
    Alias("DISABLE_FILE_LOGGING", "logging.file", read=_no_file),
    Alias("DATABASE_URL", "database.url", read=str),  # the registry's
)

ALIASES: Mapping[str, Alias] = {
    alias.name: alias
    for alias in (
        *(Alias(name, (KEYS.get(legacy) or ROOT[legacy]).path, legacy=legacy) for name, legacy in _SECTIONED.items()),
        *_OWN,
    )
}

# Comma lists of keys, with the role that each gets. The predecessor let every key do everything; its documents
# promised that only the second kind administers. An inference client needs `developer`: operators may not call models.
KEY_LISTS: Mapping[str, str] = {
    "API_KEYS": "developer",
    "ADMIN_API_KEYS": "admin",
    "ORCHESTRATOR_API_KEYS": "developer",
    "ORCHESTRATOR_ADMIN_API_KEYS": "admin",
}

_INERT_NAMES: Mapping[str, str] = {
    "ORCHESTRATOR_USER_AGENT": "userAgent",
    "ORCHESTRATOR_ENABLE_STREAMING": "enableStreaming",
    "ORCHESTRATOR_ENABLE_PERSISTENCE": "enablePersistence",
    "ORCHESTRATOR_PERSISTENCE_ENABLED": "enablePersistence",
    "ORCHESTRATOR_CONFIG_RELOAD_INTERVAL": "configReloadIntervalMs",
    "ORCHESTRATOR_CB_ERROR_RATE_SMOOTHING": "circuitBreaker.errorRateSmoothing",
    "ORCHESTRATOR_PROMETHEUS_PORT": "metrics.prometheusPort",
    "ORCHESTRATOR_METRICS_PROMETHEUS_PORT": "metrics.prometheusPort",
    "ORCHESTRATOR_METRICS_HISTORY_WINDOW": "metrics.historyWindowMinutes",
    "ORCHESTRATOR_STREAMING_ENABLED": "streaming.enabled",
    "ORCHESTRATOR_STREAMING_MAX_CONCURRENT": "streaming.maxConcurrentStreams",
    "ORCHESTRATOR_STREAMING_BUFFER_SIZE": "streaming.bufferSize",
    "ORCHESTRATOR_STREAMING_ACTIVITY_TIMEOUT_MS": "streaming.activityTimeoutMs",
    "ORCHESTRATOR_STREAMING_STALL_CHECK_INTERVAL_MS": "streaming.stallCheckIntervalMs",
    "ORCHESTRATOR_HC_RETRY_ATTEMPTS": "healthCheck.retryAttempts",
    "ORCHESTRATOR_HC_RETRY_DELAY": "healthCheck.retryDelayMs",
    "ORCHESTRATOR_HC_BACKOFF_MULTIPLIER": "healthCheck.backoffMultiplier",
    "ORCHESTRATOR_TAGS_CACHE_TTL": "tags",
    "ORCHESTRATOR_TAGS_MAX_CONCURRENT": "tags",
    "ORCHESTRATOR_TAGS_BATCH_DELAY": "tags",
    "ORCHESTRATOR_TAGS_REQUEST_TIMEOUT": "tags",
    "ORCHESTRATOR_RETRY_STATUS_CODES": "retry.retryableStatusCodes",
    "ORCHESTRATOR_MM_MAX_RETRIES": "modelManager",
    "ORCHESTRATOR_MM_RETRY_DELAY_BASE": "modelManager",
    "ORCHESTRATOR_MM_WARMUP_TIMEOUT": "modelManager",
    "ORCHESTRATOR_MM_IDLE_THRESHOLD": "modelManager",
    "ORCHESTRATOR_MM_MEMORY_SAFETY_MARGIN": "modelManager",
    "ORCHESTRATOR_MM_GB_PER_BILLION_PARAMS": "modelManager",
}
INERT_VARIABLES: Mapping[str, str] = {name: INERT[key] for name, key in _INERT_NAMES.items()}
