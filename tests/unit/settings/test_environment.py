"""Variables: our own, the fleet contract's, and those that nobody knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import NO_FILE, Settings, keys, load

# The names of contracts/fleet.md 2.3 that set something, with a value and what it must become.
LEGACY = [
    ("PORT", "5100", "server.port", 5100),
    ("ENABLE_AUTH", "true", "auth.enabled", True),
    ("LOG_LEVEL", "WARN", "logging.level", "warning"),
    ("DEBUG", "true", "logging.level", "debug"),
    ("LOG_DIR", "./logs", "logging.file", "./logs/orchestrator.log"),
    ("MAX_LOG_ENTRIES", "7", "logging.keep", 7),
    ("DATABASE_URL", "postgresql://u:p@db/ai_orchestrator", "database.url", "postgresql://u:p@db/ai_orchestrator"),
    ("ORCHESTRATOR_PORT", "5101", "server.port", 5101),
    ("ORCHESTRATOR_HOST", "127.0.0.3", "server.host", "127.0.0.3"),
    ("ORCHESTRATOR_LOG_LEVEL", "debug", "logging.level", "debug"),
    ("ORCHESTRATOR_ENABLE_AUTH", "true", "auth.enabled", True),
    ("ORCHESTRATOR_ENABLE_QUEUE", "false", "queue.enabled", False),
    ("ORCHESTRATOR_ENABLE_CIRCUIT_BREAKER", "false", "circuit_breaker.enabled", False),
    ("ORCHESTRATOR_ENABLE_METRICS", "false", "metrics.enabled", False),
    ("ORCHESTRATOR_PERSISTENCE_PATH", "/srv/x", "data_dir", Path("/srv/x")),
    ("ORCHESTRATOR_QUEUE_MAX_SIZE", "9", "queue.max_size", 9),
    ("ORCHESTRATOR_QUEUE_TIMEOUT", "1500", "queue.timeout", 1.5),
    ("ORCHESTRATOR_QUEUE_PRIORITY_BOOST_INTERVAL", "5000", "queue.priority_boost_interval", 5.0),
    ("ORCHESTRATOR_QUEUE_PRIORITY_BOOST_AMOUNT", "6", "queue.priority_boost_amount", 6),
    ("ORCHESTRATOR_QUEUE_MAX_PRIORITY", "90", "queue.max_priority", 90),
    ("ORCHESTRATOR_LB_WEIGHT_LATENCY", "0.35", "load_balancer.weights.latency", 0.35),
    ("ORCHESTRATOR_LB_WEIGHT_SUCCESS_RATE", "0.3", "load_balancer.weights.success_rate", 0.3),
    ("ORCHESTRATOR_LB_WEIGHT_LOAD", "0.25", "load_balancer.weights.load", 0.25),
    ("ORCHESTRATOR_LB_WEIGHT_CAPACITY", "0.15", "load_balancer.weights.capacity", 0.15),
    ("ORCHESTRATOR_LB_MAX_P95_LATENCY", "2500", "load_balancer.thresholds.max_p95_latency", 2.5),
    ("ORCHESTRATOR_LB_MIN_SUCCESS_RATE", "0.9", "load_balancer.thresholds.min_success_rate", 0.9),
    ("ORCHESTRATOR_LB_LATENCY_PENALTY", "0.4", "load_balancer.thresholds.latency_penalty", 0.4),
    ("ORCHESTRATOR_LB_ERROR_PENALTY", "0.2", "load_balancer.thresholds.error_penalty", 0.2),
    ("ORCHESTRATOR_CB_FAILURE_THRESHOLD", "6", "circuit_breaker.base_failure_threshold", 6),
    ("ORCHESTRATOR_CB_MAX_FAILURE_THRESHOLD", "20", "circuit_breaker.max_failure_threshold", 20),
    ("ORCHESTRATOR_CB_MIN_FAILURE_THRESHOLD", "2", "circuit_breaker.min_failure_threshold", 2),
    ("ORCHESTRATOR_CB_OPEN_TIMEOUT", "120000", "circuit_breaker.open_time", 120.0),
    ("ORCHESTRATOR_CB_HALF_OPEN_TIMEOUT", "60000", "circuit_breaker.half_open_time", 60.0),
    ("ORCHESTRATOR_CB_HALF_OPEN_MAX_REQUESTS", "5", "circuit_breaker.half_open_max_requests", 5),
    ("ORCHESTRATOR_CB_RECOVERY_SUCCESS_THRESHOLD", "4", "circuit_breaker.recovery_success_threshold", 4),
    ("ORCHESTRATOR_CB_ERROR_RATE_WINDOW", "30000", "circuit_breaker.error_rate_window", 30.0),
    ("ORCHESTRATOR_CB_ERROR_RATE_THRESHOLD", "0.3", "circuit_breaker.error_rate_threshold", 0.3),
    ("ORCHESTRATOR_CB_ADAPTIVE_THRESHOLDS", "false", "circuit_breaker.adaptive_thresholds", False),
    ("ORCHESTRATOR_CORS_ORIGINS", "http://a,http://b", "server.cors_origins", ("http://a", "http://b")),
    ("ORCHESTRATOR_RATE_LIMIT_WINDOW", "60000", "security.rate_limit_window", 60.0),
    ("ORCHESTRATOR_RATE_LIMIT_MAX", "100", "security.rate_limit_max", 100),
    ("ORCHESTRATOR_API_KEY_HEADER", "X-Other", "auth.header", "X-Other"),
    ("ORCHESTRATOR_METRICS_ENABLED", "false", "metrics.enabled", False),
    ("ORCHESTRATOR_METRICS_PROMETHEUS_ENABLED", "false", "metrics.enabled", False),
    ("ORCHESTRATOR_STREAMING_TIMEOUT", "250000", "gateway.timeout", 250.0),
    ("ORCHESTRATOR_STREAMING_TIMEOUT_MS", "250000", "gateway.timeout", 250.0),
    ("ORCHESTRATOR_STREAMING_STALL_THRESHOLD_MS", "20000", "streaming.stall_threshold", 20.0),
    ("ORCHESTRATOR_STREAMING_MAX_HANDOFF_ATTEMPTS", "3", "streaming.max_continuations", 3),
    ("ORCHESTRATOR_STREAMING_TTFT_WEIGHT", "0.7", "load_balancer.streaming.ttft_weight", 0.7),
    ("ORCHESTRATOR_STREAMING_DURATION_WEIGHT", "0.3", "load_balancer.streaming.duration_weight", 0.3),
    ("ORCHESTRATOR_HEALTH_CHECK_ENABLED", "false", "health_check.enabled", False),
    ("ORCHESTRATOR_HEALTH_CHECK_INTERVAL_MS", "30000", "health_check.interval", 30.0),
    ("ORCHESTRATOR_HEALTH_CHECK_TIMEOUT_MS", "1000", "health_check.timeout", 1.0),
    ("ORCHESTRATOR_HEALTH_CHECK_MAX_CONCURRENT", "3", "health_check.concurrency", 3),
    ("ORCHESTRATOR_HC_ENABLED", "false", "health_check.enabled", False),
    ("ORCHESTRATOR_HC_INTERVAL", "30000", "health_check.interval", 30.0),
    ("ORCHESTRATOR_HC_TIMEOUT", "1000", "health_check.timeout", 1.0),
    ("ORCHESTRATOR_HC_MAX_CONCURRENT", "3", "health_check.concurrency", 3),
    ("ORCHESTRATOR_HC_RECOVERY_INTERVAL", "60000", "health_check.recovery_interval", 60.0),
    ("ORCHESTRATOR_HC_FAILURE_THRESHOLD", "2", "health_check.failure_threshold", 2),
    ("ORCHESTRATOR_HC_SUCCESS_THRESHOLD", "2", "health_check.success_threshold", 2),
    ("ORCHESTRATOR_RETRY_MAX_RETRIES", "4", "retry.max_attempts", 5),
    ("ORCHESTRATOR_RETRY_DELAY", "250", "retry.backoff_base", 0.25),
    ("ORCHESTRATOR_RETRY_BACKOFF_MULTIPLIER", "3", "retry.backoff_multiplier", 3.0),
    ("ORCHESTRATOR_RETRY_MAX_DELAY", "9000", "retry.backoff_max", 9.0),
]
# Those that had no effect there and have none here.
INERT = [
    "USER_AGENT",
    "ENABLE_STREAMING",
    "ENABLE_PERSISTENCE",
    "PERSISTENCE_ENABLED",
    "CONFIG_RELOAD_INTERVAL",
    "CB_ERROR_RATE_SMOOTHING",
    "PROMETHEUS_PORT",
    "METRICS_PROMETHEUS_PORT",
    "METRICS_HISTORY_WINDOW",
    "STREAMING_ENABLED",
    "STREAMING_MAX_CONCURRENT",
    "STREAMING_BUFFER_SIZE",
    "STREAMING_ACTIVITY_TIMEOUT_MS",
    "STREAMING_STALL_CHECK_INTERVAL_MS",
    "HC_RETRY_ATTEMPTS",
    "HC_RETRY_DELAY",
    "HC_BACKOFF_MULTIPLIER",
    "TAGS_CACHE_TTL",
    "TAGS_MAX_CONCURRENT",
    "TAGS_BATCH_DELAY",
    "TAGS_REQUEST_TIMEOUT",
    "RETRY_STATUS_CODES",
    "MM_MAX_RETRIES",
    "MM_RETRY_DELAY_BASE",
    "MM_WARMUP_TIMEOUT",
    "MM_IDLE_THRESHOLD",
    "MM_MEMORY_SAFETY_MARGIN",
    "MM_GB_PER_BILLION_PARAMS",
    "FF_X",
]


def value(settings: Settings, path: str) -> object:
    found: object = settings
    for step in path.split("."):
        found = getattr(found, step)
    return found


@pytest.mark.parametrize(("name", "text", "path", "expected"), LEGACY, ids=[row[0] for row in LEGACY])
def test_a_legacy_variable_sets_its_key(name: str, text: str, path: str, expected: object) -> None:
    assert value(Settings(), path) != expected
    loaded = load(NO_FILE, {name: text})
    assert value(loaded.settings, path) == expected
    assert (loaded.origins[path].source, loaded.origins[path].where) == ("env", name)
    assert loaded.warnings == []


@pytest.mark.parametrize("name", INERT)
def test_a_legacy_variable_without_meaning_is_a_warning(name: str) -> None:
    loaded = load(NO_FILE, {f"ORCHESTRATOR_{name}": "5"})
    assert loaded.settings == Settings()
    assert len(loaded.warnings) == 1
    assert loaded.warnings[0].startswith(f"ORCHESTRATOR_{name} has no effect: ")


def test_file_logging_can_be_switched_off() -> None:
    assert load(NO_FILE, {"LOG_DIR": "x", "DISABLE_FILE_LOGGING": "true"}).settings.logging.file is None
    assert load(NO_FILE, {"LOG_DIR": "x", "DISABLE_FILE_LOGGING": "false"}).settings.logging.file is not None


def test_our_name_wins_over_a_legacy_one() -> None:
    environ = {"PORT": "1", "ORCHESTRATOR_PORT": "2", "ORCHESTRATOR_SERVER__PORT": "3"}
    assert load(NO_FILE, environ).settings.server.port == 3
    del environ["ORCHESTRATOR_SERVER__PORT"]
    assert load(NO_FILE, environ).settings.server.port == 2


@pytest.mark.parametrize("prefix", ["", "ORCHESTRATOR_"])
def test_legacy_key_lists_become_keys_with_roles(prefix: str, tmp_path: Path) -> None:
    secrets = tmp_path / "admins"
    secrets.write_text("admin-key-1-admin-key-1,both-kinds-both-kinds\n")
    loaded = load(
        NO_FILE,
        {
            f"{prefix}API_KEYS": "user-key-1-user-key-1, both-kinds-both-kinds",
            f"{prefix}ADMIN_API_KEYS_FILE": str(secrets),
        },
    )
    found = {key.key.get_secret_value(): key.role for key in loaded.settings.auth.keys}
    assert found == {
        "user-key-1-user-key-1": "developer",
        "admin-key-1-admin-key-1": "admin",
        "both-kinds-both-kinds": "admin",
    }
    assert loaded.warnings == []
    assert loaded.origins["auth.keys"].source == "env"


@pytest.mark.parametrize("path", sorted(keys()))
def test_every_key_has_a_variable_that_is_read(path: str) -> None:
    name = "ORCHESTRATOR_" + path.upper().replace(".", "__")
    with pytest.raises(ConfigurationError) as caught:
        load(NO_FILE, {name + "_FILE": "/nonexistent/secret"})
    assert caught.value.details["problems"][0]["path"] == path
    assert caught.value.details["problems"][0]["where"] == name + "_FILE"


def test_lists_and_objects() -> None:
    settings = load(
        NO_FILE,
        {
            "ORCHESTRATOR_NODES": '[{"id": "a", "url": "http://h:1", "kind": "openai", "api_key": "env:KEY"}]',
            "ORCHESTRATOR_SERVER__CORS_ORIGINS": '["http://a,b"]',
            "ORCHESTRATOR_CIRCUIT_BREAKER__SLOW_FIRST_TOKEN": "2s",
            "ORCHESTRATOR_SECURITY__RATE_LIMIT_MAX": "none",
            "ORCHESTRATOR_QUEUE__MAX_SIZE": "",
        },
    ).settings
    assert settings.nodes[0].kind == "openai"
    assert settings.server.cors_origins == ("http://a,b",)
    assert settings.circuit_breaker.slow_first_token == 2.0
    assert settings.security.rate_limit_max is None
    assert settings.queue.max_size == 1000


def test_wrong_values_name_their_variable() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(NO_FILE, {"PORT": "http", "ORCHESTRATOR_NODES": "a,b", "ORCHESTRATOR_QUEUE_TIMEOUT": "soon"})
    text = str(caught.value)
    assert "ORCHESTRATOR_NODES: nodes: must be a JSON list" in text
    assert "ORCHESTRATOR_QUEUE_TIMEOUT: queue.timeout: must be a number of milliseconds" in text
    with pytest.raises(ConfigurationError, match=re.escape("PORT: server.port: must be a valid integer")):
        load(NO_FILE, {"PORT": "http"})


def test_an_unknown_variable_is_a_warning_with_a_suggestion() -> None:
    loaded = load(NO_FILE, {"ORCHESTRATOR_SERVER__PROT": "1", "ORCHESTRATOR_ZZZ": "1", "UNRELATED": "1"})
    assert loaded.warnings == [
        "unknown environment variable ORCHESTRATOR_SERVER__PROT: did you mean ORCHESTRATOR_SERVER__PORT?",
        "unknown environment variable ORCHESTRATOR_ZZZ",
    ]


def test_variables_that_kubernetes_adds_are_not_ours() -> None:
    environ = {
        "ORCHESTRATOR_PORT": "tcp://10.0.0.1:9000",
        "ORCHESTRATOR_SERVICE_HOST": "10.0.0.1",
        "ORCHESTRATOR_SERVICE_PORT_HTTP": "9000",
        "ORCHESTRATOR_PORT_9000_TCP_ADDR": "10.0.0.1",
    }
    loaded = load(NO_FILE, environ)
    assert loaded.settings == Settings()
    assert loaded.warnings == []
