"""The fleet contract's check 40, second part: the names of section 3.11, and those that the guide's alerts use."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet_contract import LLAMA, ContractFleet, contract_fleet
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

COUNTERS = {"orchestrator_requests_total", "orchestrator_errors_total", "orchestrator_tokens_generated_total"}
GAUGES = {"orchestrator_requests_per_second", "orchestrator_avg_latency_ms", "orchestrator_error_rate"}
PAIR = {
    "orchestrator_in_flight_requests",
    "orchestrator_latency_p50_ms",
    "orchestrator_latency_p95_ms",
    "orchestrator_latency_p99_ms",
    "orchestrator_success_rate",
    "orchestrator_throughput_per_min",
    "orchestrator_avg_tokens_per_request",
}
WINDOWED = {
    "orchestrator_window_requests",
    "orchestrator_window_errors",
    "orchestrator_window_latency_sum_ms",
    "orchestrator_window_latency_count",
}
ALERTS = {"orchestrator_servers_healthy", "orchestrator_queue_size", "orchestrator_queue_max_size"}
WINDOWS = {"1m", "5m", "15m", "1h"}


async def scraped(fleet: ContractFleet) -> dict[str, Metric]:
    """By the name of the sample, as a query has it."""
    answer = await fleet.call("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.text.endswith("\n")
    families = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in families}) == len(families)  # each is declared once
    return {sample.name: family for family in families for sample in family.samples}


async def test_check_40_metric_names(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path) as fleet:
        for name in "ab":
            await fleet.generate(f"/api/generate--{name}")
        fleet.a.mode("status", status=500)
        await fleet.generate("/api/generate--a")

        found = await scraped(fleet)

        assert set(found) >= COUNTERS | GAUGES | PAIR | WINDOWED | ALERTS
        assert "orchestrator_circuit_breaker_state" in found
        assert {found[name].type for name in COUNTERS} == {"counter"}
        assert {found[name].type for name in GAUGES | PAIR | WINDOWED | ALERTS} == {"gauge"}
        for name in PAIR | WINDOWED:
            pairs = {(one.labels["server"], one.labels["model"]) for one in found[name].samples}
            assert {("a", LLAMA), ("b", LLAMA)} <= pairs, name
        for name in WINDOWED:
            assert {one.labels["window"] for one in found[name].samples} >= WINDOWS, name
        values = {name: found[name].samples[0].value for name in COUNTERS | ALERTS}
        assert (values["orchestrator_requests_total"], values["orchestrator_errors_total"]) == (3, 1)
        assert values["orchestrator_tokens_generated_total"] == 4
        assert values["orchestrator_servers_healthy"] == 2
        assert (values["orchestrator_queue_size"], values["orchestrator_queue_max_size"]) == (0, 1000)
        requests = {
            (one.labels["server"], one.labels["window"]): one.value
            for one in found["orchestrator_window_requests"].samples
        }
        assert requests["a", "1m"] == requests["a", "1h"] == 2


async def test_check_40_breaker_metrics(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        await fleet.post(f"O/circuit-breakers/a/{LLAMA}/open")
        states = {
            (one.labels["model"], one.labels["state"]): one.value
            for one in (await scraped(fleet))["orchestrator_circuit_breaker_state"].samples
        }
        assert states[LLAMA, "open"] == 1
        assert states[LLAMA, "closed"] == 0
        assert states["", "closed"] == 1


@pytest.mark.parametrize("model", ['a"b', "a\\b", "a/b:c"])
async def test_check_40_names_are_escaped(tmp_path: Path, model: str) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        fleet.a.set_models([model])
        await fleet.running.until(lambda: fleet.running.service.fleet.catalogue.nodes(model))
        assert (await fleet.generate(model=model)).status_code == 200
        labels = {one.labels["model"] for one in (await scraped(fleet))["orchestrator_window_requests"].samples}
        assert {label.removesuffix(":latest") for label in labels} >= {model}


async def test_check_40_the_same_text_below_the_administration(tmp_path: Path) -> None:
    async with contract_fleet(tmp_path, "a") as fleet:
        answer = await fleet.call("GET", "O/metrics/prometheus")
        assert answer.status_code == 200
        names = {family.name for family in text_string_to_metric_families(answer.text)}
        assert {"orchestrator_requests", "orchestrator_servers_healthy"} <= names
