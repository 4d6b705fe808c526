"""Windows tell what the history holds, and how much of the window that is."""

from __future__ import annotations

import pytest

from orchestrator.ports.record import RequestRecord
from orchestrator.ports.telemetry import Family
from orchestrator.services.metrics.snapshot import ModelLabels
from orchestrator.services.metrics.window import Windows

NOW = 1_000_000.0


def record(
    ended_ago: float, *, duration: float = 1.0, outcome: str = "ok", error: str = "", node: str = "a"
) -> RequestRecord:
    at = NOW - ended_ago - duration
    status = 200 if outcome == "ok" else 503
    return RequestRecord(
        "id", at, "openai_chat", "p", "m", node, status, False, duration, 0.0, 0.1, 1, 10, False, (), error, outcome
    )


def numbers(*records: RequestRecord, whole: bool = True, since: float = NOW - 86_400) -> dict[tuple[str, ...], float]:
    windows = Windows(records, NOW, since, ModelLabels(), whole=whole)
    families: list[Family] = windows.families()
    return {(f.name, *labels): v for f in families for labels, v in f.samples if isinstance(v, float | int)}


def test_each_window_has_its_own_requests() -> None:
    found = numbers(record(5000), record(2000), record(600), record(200), record(10))

    for window, count in (("1m", 1), ("5m", 2), ("15m", 3), ("1h", 4)):
        assert found["orchestrator_window_requests", "a", "m", window] == count
        assert found["orchestrator_window_latency_sum_ms", "a", "m", window] == pytest.approx(1000 * count)
        assert (
            found["orchestrator_window_covered_seconds", window]
            == {"1m": 60, "5m": 300, "15m": 900, "1h": 3600}[window]
        )


def test_a_failure_counts_and_a_mistake_of_the_client_does_not() -> None:
    found = numbers(
        record(1),
        record(1, outcome="error", error="upstream_status"),
        record(1, outcome="error", error="upstream_422"),
        record(1, outcome="error", error="invalid_request"),
        record(1, outcome="cancelled", error="client_gone"),
    )

    assert found["orchestrator_window_errors", "a", "m", "1m"] == 1
    assert found["orchestrator_error_rate",] == pytest.approx(1 / 5)
    assert found["orchestrator_success_rate", "a", "m"] == pytest.approx(4 / 5)
    assert found["orchestrator_window_latency_count", "a", "m", "1m"] == 1


def test_percentiles_are_observations() -> None:
    found = numbers(*(record(100 - n, duration=n / 100) for n in range(1, 101)))

    assert found["orchestrator_latency_p50_ms", "a", "m"] == pytest.approx(500)
    assert found["orchestrator_latency_p95_ms", "a", "m"] == pytest.approx(950)
    assert found["orchestrator_latency_p99_ms", "a", "m"] == pytest.approx(990)


def test_rates_use_the_time_that_the_history_covers() -> None:
    """A history that is full after 20 seconds knows nothing of the 40 seconds before."""
    full = numbers(*(record(20 - n) for n in range(20)), whole=False)
    young = numbers(*(record(1) for _ in range(30)), since=NOW - 30)

    assert full["orchestrator_window_covered_seconds", "1m"] == 20
    assert full["orchestrator_requests_per_second",] == 1
    assert young["orchestrator_requests_per_second",] == 1
    assert young["orchestrator_throughput_per_min", "a", "m"] == 60


def test_requests_without_a_node_make_no_rows() -> None:
    found = numbers(record(1, outcome="error", error="model_not_found", node=""))

    assert not [key for key in found if "m" in key]
    assert found["orchestrator_requests_per_second",] > 0


def test_models_beyond_the_limit_share_a_label_for_good() -> None:
    label = ModelLabels(2)

    assert [label(name) for name in ("a", "b", "c", "a", "d", "b")] == ["a", "b", "other", "a", "other", "b"]
